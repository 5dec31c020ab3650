//! Sends plain-text mail to one recipient through the configured SMTP server.

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

/// The SMTP server, and how to sign in to it.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// Host name or IP address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Encryption of the connection.
    pub encryption: Encryption,
    /// A PEM file with a further CA certificate to trust, in addition to those of the system.
    pub ca_file: Option<PathBuf>,
    /// User name and password for SMTP authentication.
    pub credentials: Option<(String, Secret)>,
    /// Sender address.
    pub from: String,
    /// Time limit for handing over one mail, from the name lookup to the last answer of the server.
    pub timeout: Duration,
}

impl MailSettings {
    /// Whether the server is on this machine, judged by its name alone.
    pub(crate) fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// Encryption of a connection to an SMTP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// TLS after a greeting in plain text (STARTTLS, RFC 3207). A server that does not offer it gets no mail.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// No encryption.
    None,
}

/// Reason why a mail was not sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// An address or the text is not valid in a mail.
    #[error("the mail cannot be written: {0}")]
    Unwritable(String),
    /// The server does not answer, answers with an error, or refuses the mail.
    #[error("the SMTP server did not take the mail: {0}")]
    Refused(#[from] lettre::transport::smtp::Error),
    /// The certificate file cannot be read.
    #[error("{path} cannot be read: {cause}")]
    File {
        /// The file.
        path: String,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// It took too long.
    #[error("the SMTP server did not take the mail within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// No thread could be started.
    #[error("the mail could not be sent: {0}")]
    Thread(#[from] std::io::Error),
}

/// Subject and text of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailMessage {
    /// The subject line.
    pub subject: String,
    /// Its text.
    pub text: String,
}

/// Sends mail. Methods block, at most for the configured timeout.
#[derive(Clone)]
pub struct Mailer {
    transport: SmtpTransport,
    from: Mailbox,
    timeout: Duration,
}

impl Mailer {
    /// Prepares a mailer; nothing is sent yet. `name` is our name in the SMTP greeting.
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

    /// Connects to the server and signs in, without sending anything.
    pub(crate) fn check(&self) -> Result<(), MailError> {
        // The answer tells whether the server took an empty command after the greeting: one that does not still greets.
        self.transport.test_connection()?;
        Ok(())
    }

    /// Hands a mail for exactly one recipient over to the server.
    pub fn send(&self, to: &str, letter: &MailMessage, at: Timestamp) -> Result<(), MailError> {
        let message = self.message(to, letter, at)?;
        // The transport's own timeout applies to each answer of the server, so a slow server could keep us for minutes.
        let (tell, told) = mpsc::channel();
        let transport = self.transport.clone();
        thread::Builder::new().name("mail".to_owned()).spawn(move || {
            // The receiver is gone after a timeout.
            let _ = tell.send(transport.send(&message));
        })?;
        match told.recv_timeout(self.timeout) {
            Ok(outcome) => Ok(outcome.map(|_| ())?),
            Err(_) => Err(MailError::TimedOut(self.timeout)),
        }
    }

    fn message(&self, to: &str, letter: &MailMessage, at: Timestamp) -> Result<Message, MailError> {
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

/// Returns the TLS parameters with the CA certificates to trust.
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

/// Parses a single address; anything that could add a recipient or a header is rejected.
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

    fn letter(subject: &str) -> MailMessage {
        MailMessage {
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
