//! A minimal browser for the scripted tour: cookies by host, redirects, `meta refresh`, forms.

use std::collections::BTreeMap;

use reqwest::blocking::{Client, Response};
use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::redirect::Policy;
use url::Url;

/// The most redirects to follow in a row.
const MOST_HOPS: usize = 20;

/// A person's browser.
pub(super) struct Browser {
    client: Client,
    cookies: BTreeMap<(String, String), String>,
}

/// A page that it shows.
pub(super) struct Page {
    pub(super) url: Url,
    pub(super) status: u16,
    pub(super) body: String,
}

/// One form of a page.
pub(super) struct Form {
    action: Url,
    fields: Vec<(String, String)>,
}

impl Browser {
    pub(super) fn new() -> Result<Self, String> {
        let client = Client::builder().redirect(Policy::none()).no_proxy().build();
        Ok(Self {
            client: client.map_err(|error| error.to_string())?,
            cookies: BTreeMap::new(),
        })
    }

    /// Opens an address and follows redirects.
    pub(super) fn open(&mut self, url: &str) -> Result<Page, String> {
        let url = Url::parse(url).map_err(|error| error.to_string())?;
        let request = self.client.get(url.clone());
        let response = self.send(&url, request)?;
        self.follow(url, response)
    }

    /// Fills in a form, sends it and follows redirects.
    pub(super) fn submit(&mut self, mut form: Form, values: &[(&str, &str)]) -> Result<Page, String> {
        for (name, value) in values {
            form.fields.retain(|(known, _)| known != name);
            form.fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        let request = self
            .client
            .post(form.action.clone())
            .header(ORIGIN, form.action.origin().ascii_serialization())
            .form(&form.fields);
        let response = self.send(&form.action, request)?;
        self.follow(form.action, response)
    }

    fn send(&mut self, url: &Url, request: reqwest::blocking::RequestBuilder) -> Result<Response, String> {
        let host = url.host_str().unwrap_or_default();
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .filter(|((of, _), _)| of == host)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        let response = request
            .header(COOKIE, cookies.join("; "))
            .send()
            .map_err(|error| error.to_string())?;
        for cookie in response.headers().get_all(SET_COOKIE) {
            let pair = cookie
                .to_str()
                .unwrap_or_default()
                .split(';')
                .next()
                .unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies
                    .insert((host.to_owned(), name.to_owned()), value.to_owned());
            }
        }
        Ok(response)
    }

    fn follow(&mut self, mut url: Url, mut response: Response) -> Result<Page, String> {
        for _ in 0..MOST_HOPS {
            let status = response.status();
            let location = response
                .headers()
                .get(LOCATION)
                .and_then(|location| location.to_str().ok().map(str::to_owned));
            let body = response.text().map_err(|error| error.to_string())?;
            let onward = location.or_else(|| refresh(&body));
            let Some(next) = onward.filter(|_| status.is_redirection() || status.is_success()) else {
                return Ok(Page {
                    url,
                    status: status.as_u16(),
                    body,
                });
            };
            url = url.join(&next).map_err(|error| error.to_string())?;
            let request = self.client.get(url.clone());
            response = self.send(&url, request)?;
        }
        Err("too many redirects".to_owned())
    }
}

impl Page {
    /// The form that posts to `path` and holds `text`.
    pub(super) fn form(&self, path: &str, text: &str) -> Result<Form, String> {
        let start = format!("action=\"{path}\"");
        let forms = self
            .body
            .split("<form")
            .skip(1)
            .filter_map(|form| form.split("</form>").next());
        let form = forms
            .into_iter()
            .find(|form| form.contains(&start) && form.contains(text))
            .ok_or_else(|| format!("{} has no form for {path}: {}", self.url.path(), self.heading()))?;
        let hidden = form
            .split("<input")
            .skip(1)
            .filter(|input| input.contains("type=\"hidden\""));
        let fields = hidden.filter_map(|input| {
            let input = input.split('>').next()?;
            Some((attribute(input, "name")?, attribute(input, "value")?))
        });
        Ok(Form {
            action: self.url.join(path).map_err(|error| error.to_string())?,
            fields: fields.collect(),
        })
    }

    /// The page's heading.
    pub(super) fn heading(&self) -> &str {
        let heading = self.body.split("<h1").nth(1).and_then(|rest| rest.split('>').nth(1));
        heading
            .and_then(|rest| rest.split('<').next())
            .unwrap_or("a page without a heading")
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = tag.split_once(&format!("{name}=\""))?.1.split('"').next()?;
    Some(unescaped(value))
}

fn refresh(body: &str) -> Option<String> {
    let content = body
        .split_once("http-equiv=\"refresh\" content=\"0; url=")?
        .1
        .split('"')
        .next()?;
    Some(unescaped(content))
}

fn unescaped(text: &str) -> String {
    let text = text
        .replace("&#38;", "&")
        .replace("&amp;", "&")
        .replace("&#34;", "\"")
        .replace("&quot;", "\"");
    text.replace("&#60;", "<").replace("&#62;", ">").replace("&#39;", "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &str) -> Page {
        Page {
            url: "http://127.0.0.1:1/login".parse().unwrap(),
            status: 200,
            body: body.to_owned(),
        }
    }

    #[test]
    fn a_form_is_found_by_its_action_and_keeps_its_hidden_fields() {
        let page = page(
            r#"<form method="post" action="/a"><input type="hidden" name="csrf" value="t&#38;1"><input name="user" value="x"></form>"#,
        );
        let form = page.form("/a", "csrf").unwrap();
        assert_eq!(form.action.as_str(), "http://127.0.0.1:1/a");
        assert_eq!(form.fields, [("csrf".to_owned(), "t&1".to_owned())]);
        assert!(page.form("/b", "").is_err());
    }

    #[test]
    fn a_refresh_leads_on() {
        let body = r#"<meta http-equiv="refresh" content="0; url=http://127.0.0.1:2/x?a=1&#38;b=2">"#;
        assert_eq!(refresh(body).as_deref(), Some("http://127.0.0.1:2/x?a=1&b=2"));
        assert_eq!(refresh("<h1>Hello</h1>"), None);
    }
}
