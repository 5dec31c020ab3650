//! Static files for the pages, built into the binary and served under a hash of their content.

use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};

use crate::storage::random;

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("vestibule", Kind::Css, include_str!("../../templates/vestibule.css")));
static MARK: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("mark", Kind::Svg, include_str!("../../templates/mark.svg")));

static SEND: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("send", Kind::JavaScript, include_str!("../../templates/send.js")));

static CODES: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("codes", Kind::JavaScript, include_str!("../../templates/codes.js")));

/// The kind of a file.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A style sheet.
    Css,
    /// A picture.
    Svg,
    /// A script.
    JavaScript,
}

/// One file.
#[derive(Debug)]
pub struct Asset {
    /// The path, `/assets/NAME-HASH.EXTENSION`. Other content has another path, so it may be cached forever.
    pub path: String,
    kind: Kind,
    body: &'static str,
}

impl Asset {
    /// Names a file after its content.
    pub fn new(name: &str, kind: Kind, body: &'static str) -> Self {
        let extension = match kind {
            Kind::Css => "css",
            Kind::Svg => "svg",
            Kind::JavaScript => "js",
        };
        Self {
            path: format!("/assets/{name}-{}.{extension}", &random::fingerprint(body)[..16]),
            kind,
            body,
        }
    }

    /// Serves the file at its path.
    pub(crate) fn mount(&'static self, config: &mut web::ServiceConfig) {
        config.route(&self.path, web::get().to(move || async { self.response() }));
    }

    fn response(&self) -> HttpResponse {
        let media_type = match self.kind {
            Kind::Css => "text/css; charset=utf-8",
            Kind::Svg => "image/svg+xml",
            Kind::JavaScript => "text/javascript; charset=utf-8",
        };
        HttpResponse::Ok()
            .insert_header((CONTENT_TYPE, media_type))
            .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
            .body(self.body)
    }
}

/// The style sheet of every page.
pub(crate) fn style() -> &'static Asset {
    &STYLE
}

/// The script that sends the only form of a page.
pub(crate) fn send() -> &'static Asset {
    &SEND
}

/// The script that copies and prints recovery codes.
pub(crate) fn codes() -> &'static Asset {
    &CODES
}

/// The logo, shown on pages and as their icon.
pub fn mark() -> &'static Asset {
    &MARK
}

/// Serves the files, and the logo at `/favicon.ico`, where browsers look by default.
pub fn routes(config: &mut web::ServiceConfig) {
    style().mount(config);
    mark().mount(config);
    send().mount(config);
    codes().mount(config);
    config.route(
        "/favicon.ico",
        web::get().to(|| async {
            HttpResponse::Ok()
                .insert_header((CONTENT_TYPE, "image/svg+xml"))
                .insert_header((CACHE_CONTROL, "public, max-age=86400"))
                .body(mark().body)
        }),
    );
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::{App, test as http};

    use super::*;

    #[actix_web::test]
    async fn the_style_sheet_is_served_at_its_path_and_kept_for_ever() {
        let app = http::init_service(
            App::new()
                .wrap(crate::server::headers::defaults(false))
                .configure(routes),
        )
        .await;
        let reply = http::call_service(&app, http::TestRequest::get().uri(&style().path).to_request()).await;
        assert_eq!(reply.status(), StatusCode::OK);
        assert_eq!(reply.headers().get(CONTENT_TYPE).unwrap(), "text/css; charset=utf-8");
        assert_eq!(
            reply.headers().get(CACHE_CONTROL).unwrap(),
            "public, max-age=31536000, immutable"
        );
        assert_eq!(
            http::read_body(reply).await,
            include_str!("../../templates/vestibule.css").as_bytes()
        );
    }

    #[actix_web::test]
    async fn another_hash_is_not_found() {
        let app = http::init_service(App::new().configure(routes)).await;
        let request = http::TestRequest::get()
            .uri("/assets/vestibule-0000000000000000.css")
            .to_request();
        assert_eq!(http::call_service(&app, request).await.status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn other_content_has_another_path() {
        assert_ne!(
            Asset::new("a", Kind::Svg, "<svg/>").path,
            Asset::new("a", Kind::Svg, "<svg></svg>").path
        );
        let hash = style()
            .path
            .strip_prefix("/assets/vestibule-")
            .and_then(|rest| rest.strip_suffix(".css"))
            .unwrap();
        assert!(hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn no_asset_loads_anything_from_elsewhere() {
        for asset in [style(), mark(), send(), codes()] {
            let body = asset.body.replace("http://www.w3.org/2000/svg", "");
            for needle in ["http:", "https:", "//", "@import", "url(", "<script", "expression("] {
                assert!(!body.contains(needle), "{} holds {needle}", asset.path);
            }
        }
    }
}
