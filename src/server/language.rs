//! The language of a response.
//!
//! It is the one that the application asked for (`ui_locales`, OpenID Connect Core §3.1.2.1), else the one that the
//! browser prefers (`Accept-Language`, RFC 9110 §12.5.4), else English.

use std::cell::Cell;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AcceptLanguage, Header, LanguageTag};
use actix_web::middleware::Next;

/// A language that all pages exist in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// German.
    German,
}

impl Language {
    /// All languages.
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// Its tag (RFC 5646).
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// The language of a tag: `de`, `de-AT` and `DE` are the same.
    fn of(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|language| language.tag().eq_ignore_ascii_case(primary))
    }

    fn first<'a>(tags: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        tags.into_iter().find_map(Self::of)
    }
}

tokio::task_local! {
    static IN_TASK: Cell<Language>;
}

/// The language of the current request.
pub fn current() -> Language {
    IN_TASK.try_with(Cell::get).unwrap_or_default()
}

/// Runs work with a language.
pub(super) fn with<T>(language: Language, work: impl FnOnce() -> T) -> T {
    IN_TASK.sync_scope(Cell::new(language), work)
}

/// Switches to the first of these languages that is supported, if there is one.
pub(super) fn prefer(tags: &[String]) {
    if let Some(language) = Language::first(tags.iter().map(String::as_str)) {
        // Outside a request there is no language to set.
        let _ = IN_TASK.try_with(|current| current.set(language));
    }
}

/// Middleware: takes the language from the browser's preference.
pub async fn assign(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let accepted = AcceptLanguage::parse(&request).map(|accepted| accepted.ranked());
    let language = accepted.ok().and_then(|ranked| {
        let tags = ranked.iter().filter_map(|preference| preference.item());
        Language::first(tags.map(LanguageTag::as_str))
    });
    IN_TASK
        .scope(Cell::new(language.unwrap_or_default()), next.call(request))
        .await
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::{App, test, web};

    use super::*;

    async fn answered(header: &str, ui_locales: &'static [&'static str]) -> String {
        let tell = move || async move {
            prefer(&ui_locales.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>());
            current().tag()
        };
        let app = test::init_service(App::new().wrap(from_fn(assign)).route("/", web::get().to(tell))).await;
        let request = test::TestRequest::get().insert_header(("Accept-Language", header));
        let body = test::call_and_read_body(&app, request.to_request()).await;
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[actix_web::test]
    async fn the_browser_is_answered_in_the_language_it_likes_best() {
        assert_eq!(answered("de-AT, en;q=0.8", &[]).await, "de");
        assert_eq!(answered("en;q=0.3, de;q=0.9", &[]).await, "de");
        assert_eq!(answered("fr, nl;q=0.5, *;q=0.1", &[]).await, "en");
        assert_eq!(answered(";;;", &[]).await, "en");
    }

    #[actix_web::test]
    async fn language_of_the_application_comes_first() {
        assert_eq!(answered("de", &["fr", "en-GB"]).await, "en");
        assert_eq!(answered("de", &["fr", "tlh"]).await, "de");
    }
}
