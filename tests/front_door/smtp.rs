//! A mail server on loopback that stores the mail it receives.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vestibule::federation::MailSender;
use vestibule::mail::{Encryption, MailSettings, Mailer};
use vestibule::server::mail_text;

/// How the server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Polite,
    /// Accepts connections and sends nothing.
    Silent,
    /// Sends continuation lines of a greeting that never ends.
    Slow,
    /// Refuses every sender with 451.
    Refusing,
}

/// A received mail.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) recipients: Vec<String>,
    pub(crate) text: String,
}

impl Arrived {
    /// The code in the mail.
    pub(crate) fn code(&self) -> String {
        let is_code = |line: &&str| line.contains("ode: ");
        let line = self.text.lines().find(is_code).expect("a line with the code");
        line.split_once("ode: ").unwrap().1.trim().to_owned()
    }
}

pub(crate) struct Smtp {
    port: u16,
    spool: Arc<Mutex<Vec<Arrived>>>,
    manner: Arc<Mutex<Manner>>,
}

impl Smtp {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (spool, manner) = (Arc::default(), Arc::new(Mutex::new(Manner::Polite)));
        let (kept, now) = (Arc::clone(&spool), Arc::clone(&manner));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (spool, manner) = (Arc::clone(&kept), *now.lock().unwrap());
                std::thread::spawn(move || serve(&stream, &spool, manner));
            }
        });
        Self { port, spool, manner }
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// A mail sender that uses this server.
    pub(crate) fn post(&self) -> MailSender {
        self.post_by(Encryption::None)
    }

    pub(crate) fn post_by(&self, encryption: Encryption) -> MailSender {
        let settings = MailSettings {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            encryption,
            ca_file: None,
            credentials: None,
            from: "login@id.example".to_owned(),
            timeout: Duration::from_secs(2),
        };
        MailSender {
            mailer: Mailer::new(&settings, "id.example").unwrap(),
            compose: Box::new(mail_text::code),
        }
    }

    /// All mail that arrived.
    pub(crate) fn mail(&self) -> Vec<Arrived> {
        self.spool.lock().unwrap().clone()
    }

    /// The code of the last mail.
    pub(crate) fn code(&self) -> String {
        self.mail().last().expect("no mail arrived").code()
    }
}

/// Serves one connection (RFC 5321) until the client closes it.
fn serve(stream: &TcpStream, spool: &Mutex<Vec<Arrived>>, manner: Manner) {
    let mut out = stream;
    let mut say = |text: &str| out.write_all(format!("{text}\r\n").as_bytes()).is_ok();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    match manner {
        Manner::Silent => {
            lines.next();
            return;
        }
        Manner::Slow => {
            while say("220-wait") {
                std::thread::sleep(Duration::from_millis(300));
            }
            return;
        }
        Manner::Polite | Manner::Refusing => {}
    }
    let mut recipients = Vec::new();
    say("220 test");
    while let Some(line) = lines.next() {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => say("250-test\r\n250 8BITMIME"),
            "MAIL" if manner == Manner::Refusing => say("451 not now"),
            "RCPT" => {
                recipients.push(line);
                say("250 yes")
            }
            "DATA" => {
                say("354 go on");
                let text: Vec<String> = lines.by_ref().take_while(|line| line != ".").collect();
                spool.lock().unwrap().push(Arrived {
                    recipients: std::mem::take(&mut recipients),
                    text: text.join("\n"),
                });
                say("250 kept")
            }
            "QUIT" => {
                say("221 bye");
                return;
            }
            _ => say("250 yes"),
        };
    }
}
