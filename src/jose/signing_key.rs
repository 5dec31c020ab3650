//! A signing key pair: generation, signing, verification, and its public part as a JWK (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair as RsaKeyPair, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, UnparsedPublicKey,
};
use rsa::pkcs1::EncodeRsaPrivateKey;
use serde_json::{Value, json};

use super::algorithm::Algorithm;

/// The size of RSA keys, in bits.
const RSA_BITS: usize = 2048;

/// A key cannot be generated or parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signing key cannot be generated or parsed")]
pub struct BadKey;

enum PrivateKey {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

/// A key pair that signs ID tokens.
pub(crate) struct SigningKey {
    kid: String,
    pair: PrivateKey,
}

/// Generates a private key: PKCS#1 for RSA, PKCS#8 for P-256, both in DER. RSA is slow.
pub(crate) fn generate(algorithm: Algorithm) -> Result<Vec<u8>, BadKey> {
    match algorithm {
        Algorithm::Rs256 => {
            let key = rsa::RsaPrivateKey::new(&mut rand_core::OsRng, RSA_BITS).map_err(|_| BadKey)?;
            Ok(key.to_pkcs1_der().map_err(|_| BadKey)?.as_bytes().to_vec())
        }
        Algorithm::Es256 => {
            let random = SystemRandom::new();
            let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(|_| BadKey)?;
            Ok(key.as_ref().to_vec())
        }
    }
}

impl SigningKey {
    /// Parses the output of [`generate`].
    pub(crate) fn read(algorithm: Algorithm, der: &[u8]) -> Result<Self, BadKey> {
        let pair = match algorithm {
            Algorithm::Rs256 => PrivateKey::Rsa(RsaKeyPair::from_der(der).map_err(|_| BadKey)?),
            Algorithm::Es256 => {
                let random = SystemRandom::new();
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random);
                PrivateKey::P256(pair.map_err(|_| BadKey)?)
            }
        };
        Ok(Self {
            kid: thumbprint(&public(&pair)),
            pair,
        })
    }

    /// Returns the RFC 7638 thumbprint of the public part.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self.pair {
            PrivateKey::Rsa(_) => Algorithm::Rs256,
            PrivateKey::P256(_) => Algorithm::Es256,
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BadKey> {
        let random = SystemRandom::new();
        match &self.pair {
            PrivateKey::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| BadKey)?;
                Ok(signature)
            }
            PrivateKey::P256(pair) => Ok(pair.sign(&random, message).map_err(|_| BadKey)?.as_ref().to_vec()),
        }
    }

    /// Returns whether this key made the signature of the message.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.pair {
            PrivateKey::Rsa(pair) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                public.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            PrivateKey::P256(pair) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key())
                .verify(message, signature)
                .is_ok(),
        }
    }

    /// Returns the public part as a published JWK.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = public(&self.pair);
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.algorithm().name());
        jwk["use"] = json!("sig");
        jwk
    }
}

/// Returns the required members of the public key, in the order in which RFC 7638 §3.2 hashes them.
fn public(pair: &PrivateKey) -> Value {
    match pair {
        PrivateKey::Rsa(pair) => {
            let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
            json!({ "e": URL_SAFE_NO_PAD.encode(public.e), "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(public.n) })
        }
        PrivateKey::P256(pair) => {
            // An uncompressed point: 4, then two coordinates of 32 bytes.
            let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
            json!({ "crv": "P-256", "kty": "EC", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) })
        }
    }
}

fn thumbprint(public: &Value) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, public.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_the_one_of_rfc_7638() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        assert_eq!(
            thumbprint(&json!({ "e": "AQAB", "kty": "RSA", "n": n })),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    #[test]
    fn keys_of_both_kinds_sign_and_check() {
        for algorithm in Algorithm::ALL {
            let key = SigningKey::read(algorithm, &generate(algorithm).unwrap()).unwrap();
            let signature = key.sign(b"message").unwrap();
            assert!(key.verify(b"message", &signature));
            assert!(!key.verify(b"massage", &signature));
            assert!(!key.verify(b"message", &signature[1..]));
            assert_eq!(key.algorithm(), algorithm);
        }
    }
}
