//! A small OpenID provider that gives the answers that a test sets.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// A key of the issuer.
pub(crate) struct Key {
    pair: Ed25519KeyPair,
    pub(crate) id: String,
}

impl Key {
    /// A new key.
    pub(crate) fn new(id: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        Self {
            pair: Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap(),
            id: id.to_owned(),
        }
    }

    /// The public half, as it is published.
    pub(crate) fn public(&self) -> Value {
        let x = B64.encode(self.pair.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.id, "x": x})
    }

    /// A signed token with any header and claims.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        let signature = B64.encode(self.pair.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }
}

/// The answers of the issuer by path, and the number of requests.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) documents: HashMap<&'static str, (u16, Value)>,
    pub(crate) hits: HashMap<String, usize>,
    pub(crate) last_body: String,
    pub(crate) last_authorization: Option<String>,
}

/// The running issuer.
pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) answers: Arc<Mutex<Answers>>,
}

impl Issuer {
    /// Starts an issuer with a key; it stops with the test process.
    pub(crate) fn start(key: &Key) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let metadata = json!({
            "issuer": url,
            "authorization_endpoint": format!("{url}/authorize?tenant=1"),
            "token_endpoint": format!("{url}/token"),
            "userinfo_endpoint": format!("{url}/userinfo"),
            "jwks_uri": format!("{url}/jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["EdDSA", "none", "HS256"],
        });
        let documents = HashMap::from([
            ("/.well-known/openid-configuration", (200, metadata)),
            ("/jwks", (200, json!({"keys": [key.public()]}))),
            ("/userinfo", (200, json!({"sub": "u-1"}))),
        ]);
        let answers = Arc::new(Mutex::new(Answers {
            documents,
            ..Answers::default()
        }));
        let shared = Arc::clone(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let answers = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream.unwrap(), &answers));
            }
        });
        Self { url, answers }
    }

    /// Sets the document at a path.
    pub(crate) fn say(&self, path: &'static str, status: u16, document: Value) {
        self.answers.lock().unwrap().documents.insert(path, (status, document));
    }

    /// Changes one member of the metadata.
    pub(crate) fn describe(&self, name: &str, value: Value) {
        let mut answers = self.answers.lock().unwrap();
        let (_, metadata) = answers.documents.get_mut("/.well-known/openid-configuration").unwrap();
        metadata[name] = value;
    }

    /// The number of requests to a path.
    pub(crate) fn hits(&self, path: &str) -> usize {
        self.answers.lock().unwrap().hits.get(path).copied().unwrap_or_default()
    }
}

fn serve(stream: TcpStream, answers: &Mutex<Answers>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let path = line
        .split(' ')
        .nth(1)
        .unwrap_or("/")
        .split('?')
        .next()
        .unwrap()
        .to_owned();
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        match header.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => authorization = Some(value.to_owned()),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (status, document) = {
        let mut answers = answers.lock().unwrap();
        *answers.hits.entry(path.clone()).or_default() += 1;
        if path == "/token" {
            answers.last_body = String::from_utf8(body).unwrap();
            answers.last_authorization = authorization;
        }
        answers
            .documents
            .get(path.as_str())
            .cloned()
            .unwrap_or((404, json!({})))
    };
    let document = document.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        document.len()
    );
    let _ = write!(reader.get_mut(), "{head}Connection: close\r\n\r\n{document}");
}
