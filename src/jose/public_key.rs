//! Public keys of clients (RFC 7517), which verify signatures (RFC 7518 §3, RFC 8037).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde_json::Value;

/// The supported signature algorithms. All are asymmetric, and `none` is not supported. `Ed25519` is the RFC 9864 name
/// of `EdDSA` on that curve.
pub(crate) const ALGORITHMS: [&str; 5] = ["ES256", "RS256", "PS256", "EdDSA", "Ed25519"];

/// The number of keys of a set that are read.
const MOST: usize = 20;

/// A public key that verifies signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kid: Option<String>,
    /// The only algorithm that it may be used with, if its `alg` says so.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The uncompressed point.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Returns the keys of a JWK set that can verify signatures; others are ignored (RFC 7517 §5).
pub(crate) fn read_set(set: &Value) -> Option<Vec<PublicKey>> {
    let keys = set.get("keys")?.as_array()?;
    Some(keys.iter().take(MOST).filter_map(PublicKey::read).collect())
}

impl PublicKey {
    fn read(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        if text("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        let material = match (text("kty")?, text("crv")) {
            ("RSA", _) => Material::Rsa {
                n: without_zeros(bytes("n")?),
                e: without_zeros(bytes("e")?),
            },
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                (x.len() == 32 && y.len() == 32).then(|| Material::P256([&[4], &x[..], &y].concat()))?
            }
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
            _ => return None,
        };
        Some(Self {
            kid: text("kid").map(str::to_owned),
            algorithm: text("alg").map(str::to_owned),
            material,
        })
    }

    /// Returns whether the key has this `kid`; true if the signature names none.
    pub(crate) fn is_called(&self, kid: Option<&str>) -> bool {
        kid.is_none_or(|kid| self.kid.as_deref() == Some(kid))
    }

    /// Returns whether this key made the signature of the message. The key determines which algorithms are allowed.
    pub(crate) fn verify(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let algorithm = one_name(algorithm);
        if self.algorithm.as_deref().is_some_and(|own| one_name(own) != algorithm) {
            return false;
        }
        let checked = match (&self.material, algorithm) {
            (Material::Rsa { n, e }, "RS256") => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Material::Rsa { n, e }, "PS256") => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature)
            }
            (Material::P256(point), "ES256") => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Material::Ed25519(key), "EdDSA") => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            _ => return false,
        };
        checked.is_ok()
    }
}

fn one_name(algorithm: &str) -> &str {
    if algorithm == "Ed25519" { "EdDSA" } else { algorithm }
}

/// Removes leading zeros, which some libraries write and ring refuses.
fn without_zeros(number: Vec<u8>) -> Vec<u8> {
    number.into_iter().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// RFC 8037, appendix A.4.
    #[test]
    fn the_example_of_rfc_8037_holds() {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let key = PublicKey::read(&jwk).unwrap();
        let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = URL_SAFE_NO_PAD
            .decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
            .unwrap();
        assert!(key.verify("EdDSA", signed, &signature));
        assert!(key.verify("Ed25519", signed, &signature));
        assert!(!key.verify("ES256", signed, &signature));
        assert!(!key.verify("none", signed, b""));
        assert!(!key.verify("EdDSA", b"other", &signature));
    }

    #[test]
    fn unusable_keys_are_ignored() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let set = json!({"keys": [
            {"kty": "oct", "k": "AAAA"},
            {"kty": "EC", "crv": "P-384", "x": x, "y": x},
            {"kty": "EC", "crv": "P-256", "x": "AA", "y": x},
            {"kty": "OKP", "crv": "X25519", "x": x},
            {"kty": "OKP", "crv": "Ed25519", "x": x, "use": "enc"},
            {"kty": "RSA", "n": 7},
            "text",
            {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "good"},
        ]});
        let keys = read_set(&set).unwrap();
        assert_eq!(keys.len(), 1);
        assert!(keys[0].is_called(Some("good")) && keys[0].is_called(None) && !keys[0].is_called(Some("bad")));
        assert_eq!(read_set(&json!({"keys": "none"})), None);
    }

    #[test]
    fn key_with_alg_verifies_no_other_algorithm() {
        use super::super::algorithm::Algorithm;
        use super::super::signing_key::{SigningKey, generate};
        let own = SigningKey::read(Algorithm::Rs256, &generate(Algorithm::Rs256).unwrap()).unwrap();
        let mut jwk = own.jwk();
        let signature = own.sign(b"message").unwrap();
        for (is_for, holds) in [("RS256", true), ("PS256", false), ("ES256", false)] {
            jwk["alg"] = json!(is_for);
            let key = PublicKey::read(&jwk).unwrap();
            assert_eq!(key.verify("RS256", b"message", &signature), holds, "{is_for}");
            assert!(!key.verify("PS256", b"message", &signature) && !key.verify("HS256", b"message", &signature));
        }
    }
}
