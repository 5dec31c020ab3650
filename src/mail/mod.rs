//! Mail going out: one plain text to one person, through the operator's SMTP server.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message, SmtpTransport, Transport};

use crate::domain::email::Email;
use crate::domain::{Secret, Timestamp};
use crate::storage::random;

/// The SMTP server, and who we are to it.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is kept private.
    pub encryption: Encryption,
    /// A file with the certificate (PEM) of who vouches for it, beside those whom the system trusts.
    pub ca_file: Option<PathBuf>,
    /// What it wants to hear before it takes mail: a user name and a password.
    pub credentials: Option<(String, Secret)>,
    /// The address that mail comes from.
    pub from: String,
    /// How long a mail may take to be handed over, from the first look for the server to its last word.
    pub timeout: Duration,
}

impl MailSettings {
    /// Whether the server is on this very machine, by its name alone.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// How the way to an SMTP server is kept private.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// TLS after a first greeting in plain text (RFC 3207). A server that does not offer it gets no mail.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// None at all.
    None,
}

/// Why a mail was not handed over.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// It cannot be written: an address or the text is not fit for mail.
    #[error("the mail cannot be written: {0}")]
    Unwritable(String),
    /// The server does not answer, or not as it should, or does not take the mail.
    #[error("the SMTP server did not take the mail: {0}")]
    Refused(#[from] lettre::transport::smtp::Error),
    /// The file of a certificate cannot be read.
    #[error("{path} cannot be read: {cause}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// It took too long.
    #[error("the SMTP server did not take the mail within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// No thread could be had.
    #[error("the mail could not be sent: {0}")]
    Thread(#[from] std::io::Error),
}

/// A mail as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// What it is about.
    pub subject: String,
    /// Its text.
    pub text: String,
}

/// Hands mail over. Methods block, at most as long as the settings say.
#[derive(Clone)]
pub struct Mailer {
    transport: SmtpTransport,
    from: Mailbox,
    timeout: Duration,
}

impl Mailer {
    /// Makes ready to send. `name` is what we call ourselves to the server. Nothing is sent yet.
    pub fn new(settings: &MailSettings, name: &str) -> Result<Self, MailError> {
        let tls = match settings.encryption {
            Encryption::StartTls => Tls::Required(trusted(settings)?),
            Encryption::Tls => Tls::Wrapper(trusted(settings)?),
            Encryption::None => Tls::None,
        };
        let transport = SmtpTransport::builder_dangerous(settings.host.clone())
            .port(settings.port)
            .tls(tls)
            .hello_name(ClientId::Domain(name.to_owned()))
            .timeout(Some(settings.timeout));
        let transport = match &settings.credentials {
            Some((user, password)) => {
                transport.credentials(Credentials::new(user.clone(), password.expose().to_owned()))
            }
            None => transport,
        };
        Ok(Self {
            transport: transport.build(),
            from: mailbox(&settings.from)?,
            timeout: settings.timeout,
        })
    }

    /// Hands a letter over to the server, for one person and nobody else.
    pub fn send(&self, to: &str, letter: &Letter, at: Timestamp) -> Result<(), MailError> {
        let message = self.message(to, letter, at)?;
        // The transport's own limit is for each word of the server: a slow talker could keep us for minutes.
        let (tell, told) = mpsc::channel();
        let transport = self.transport.clone();
        thread::Builder::new().name("mail".to_owned()).spawn(move || {
            // Nobody listens any more once it took too long.
            let _ = tell.send(transport.send(&message));
        })?;
        match told.recv_timeout(self.timeout) {
            Ok(outcome) => Ok(outcome.map(|_| ())?),
            Err(_) => Err(MailError::TimedOut(self.timeout)),
        }
    }

    fn message(&self, to: &str, letter: &Letter, at: Timestamp) -> Result<Message, MailError> {
        let since = Duration::from_millis(u64::try_from(at.0).unwrap_or_default());
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(self.from.clone())
            .to(mailbox(to)?)
            .subject(one_line(&letter.subject))
            .date(SystemTime::UNIX_EPOCH + since)
            .message_id(Some(format!("<{}@{}>", random::token(), self.from.email.domain())))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())
            .map_err(|error| MailError::Unwritable(error.to_string()))
    }
}

/// Whom a server must be vouched for by.
fn trusted(settings: &MailSettings) -> Result<TlsParameters, MailError> {
    let mut parameters = TlsParameters::builder(settings.host.clone());
    if let Some(path) = &settings.ca_file {
        let pem = std::fs::read(path).map_err(|cause| MailError::File {
            path: path.display().to_string(),
            cause,
        })?;
        parameters = parameters.add_root_certificate(Certificate::from_pem(&pem)?);
    }
    Ok(parameters.build()?)
}

/// An address with nothing about it that could be a second one, or a header.
fn mailbox(address: &str) -> Result<Mailbox, MailError> {
    if Email::parse(address).is_none() {
        return Err(MailError::Unwritable("an address is not well-formed".to_owned()));
    }
    let address: Address = address
        .parse()
        .map_err(|_| MailError::Unwritable("an address is not well-formed".to_owned()))?;
    Ok(Mailbox::new(None, address))
}

fn one_line(text: &str) -> String {
    text.chars().filter(|sign| !sign.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailer() -> Mailer {
        let settings = MailSettings {
            host: "localhost".to_owned(),
            port: 1,
            encryption: Encryption::None,
            ca_file: None,
            credentials: None,
            from: "login@id.example".to_owned(),
            timeout: Duration::from_secs(1),
        };
        Mailer::new(&settings, "id.example").unwrap()
    }

    fn letter(subject: &str) -> Letter {
        Letter {
            subject: subject.to_owned(),
            text: "1234 5678\n".to_owned(),
        }
    }

    #[test]
    fn nothing_in_an_address_makes_a_second_one_or_a_header() {
        for address in [
            "a@example.com\r\nBcc: eve@evil.example",
            "a@example.com, eve@evil.example",
            "a,b@example.com",
            "<a@example.com>",
            "Ann <a@example.com>",
            "a@example.com eve@evil.example",
            "a＠evil.example@example.com",
            "a\0@example.com",
            "",
        ] {
            let refused = mailer().message(address, &letter("Hi"), Timestamp(0));
            assert!(matches!(refused, Err(MailError::Unwritable(_))), "{address:?}");
        }
    }

    #[test]
    fn nothing_in_a_subject_makes_a_header() {
        let message = mailer()
            .message(
                "a@example.com",
                &letter("Hi\r\nBcc: eve@evil.example\n\nmore"),
                Timestamp(0),
            )
            .unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
        assert_eq!(message.envelope().to().len(), 1);
        let (headers, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(headers.contains("Auto-Submitted: auto-generated"), "{text}");
        assert_eq!(body.trim_end(), "1234 5678");
    }
}
