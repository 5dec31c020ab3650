//! Seals secrets that must be read back, such as signing keys and verifiers of pending logins.

use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::random;
use crate::domain::Secret;

/// The reason why the master key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is not 32 bytes in base64.
    #[error("the master key must be 32 bytes in base64, such as `head -c 32 /dev/urandom | base64` prints")]
    Malformed,
    /// The key file cannot be read or created.
    #[error("the master key file {path} cannot be used: {cause}")]
    File {
        /// The file.
        path: String,
        /// The error of the operating system.
        cause: std::io::Error,
    },
}

/// A sealed value was changed, moved to another record, or sealed under another key.
#[derive(Debug, thiserror::Error)]
#[error("a sealed value cannot be opened: is this the master key that sealed it?")]
pub struct Unsealable;

/// Authenticated encryption with the master key, which is not in the database.
pub struct SecretBox(LessSafeKey);

impl SecretBox {
    /// Reads the key from a text, for example from an environment variable.
    pub fn from_secret(key: &Secret) -> Result<Self, KeyError> {
        let bytes = STANDARD.decode(key.expose().trim()).map_err(|_| KeyError::Malformed)?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| KeyError::Malformed)?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Generates a key that is never stored: once it is dropped, its sealed values cannot be opened.
    pub(crate) fn ephemeral() -> Result<Self, KeyError> {
        Self::from_secret(&Secret::new(STANDARD.encode(random::bytes::<32>())))
    }

    /// Reads the key from a file; creates the file, readable only by its owner, if it does not exist.
    pub(crate) fn from_file(path: &Path) -> Result<Self, KeyError> {
        let failed = |cause| KeyError::File {
            path: path.display().to_string(),
            cause,
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        match create_private(path) {
            Ok(mut file) => {
                writeln!(file, "{}", STANDARD.encode(random::bytes::<32>()))
                    .and_then(|()| file.sync_all())
                    .map_err(failed)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::from_secret(&Secret::new(text))
    }

    /// Seals `plain` for the record that `context` names, such as `signing_keys/KID`.
    pub(crate) fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let nonce = random::bytes::<NONCE_LEN>();
        let mut sealed = plain.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut sealed)
            .expect("a short text can be sealed");
        [&nonce[..], &sealed].concat()
    }

    /// Opens a value that [`SecretBox::seal`] sealed for the same record.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(Unsealable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealable)?;
        let mut plain = body.to_vec();
        let length = self
            .0
            .open_in_place(nonce, Aad::from(context), &mut plain)
            .map_err(|_| Unsealable)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }
}

fn create_private(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret_box() -> SecretBox {
        SecretBox::from_secret(&Secret::new(STANDARD.encode([7; 32]))).unwrap()
    }

    #[test]
    fn sealed_values_open_for_the_same_record_only() {
        let sealed = secret_box().seal("keys/1", b"plain");
        assert_eq!(secret_box().open("keys/1", &sealed).unwrap(), b"plain");
        assert!(secret_box().open("keys/2", &sealed).is_err());
        assert!(secret_box().open("keys/1", &sealed[..10]).is_err());
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        assert_ne!(secret_box().seal("a", b"x"), secret_box().seal("a", b"x"));
    }

    #[test]
    fn the_key_file_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/master.key");
        let sealed = SecretBox::from_file(&path).unwrap().seal("a", b"x");
        assert_eq!(SecretBox::from_file(&path).unwrap().open("a", &sealed).unwrap(), b"x");
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap()) & 0o777,
            0o600
        );
    }
}
