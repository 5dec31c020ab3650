//! The part of an HTML page that a person acts on: its forms, and where it leads on.

/// A page, as a browser shows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// The text of the page.
    pub(crate) html: String,
    /// Its forms, in order.
    pub(crate) forms: Vec<Form>,
}

/// A form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    /// The path it is sent to.
    pub(crate) action: String,
    /// Its fields.
    pub(crate) fields: Vec<Field>,
    /// Its buttons: name and value, both empty if the button sends nothing.
    pub(crate) buttons: Vec<(String, String)>,
}

/// A field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: String,
    /// The `type` of the input: `hidden`, `text`, `password`, `checkbox` and so on.
    pub(crate) kind: String,
    /// The `autocomplete` of the input.
    pub(crate) autocomplete: String,
}

impl Page {
    /// Reads a page.
    pub(crate) fn read(html: String) -> Self {
        let mut forms: Vec<Form> = Vec::new();
        let mut is_open = false;
        for tag in tags(&html) {
            match tag.name {
                "form" => {
                    is_open = true;
                    forms.push(Form {
                        action: tag.attribute("action").unwrap_or_default(),
                        ..Form::default()
                    });
                }
                "/form" => is_open = false,
                "input" | "button" if is_open => {
                    let form = forms.last_mut().expect("a form is open");
                    let text = |name| tag.attribute(name).unwrap_or_default();
                    if tag.name == "button" {
                        form.buttons.push((text("name"), text("value")));
                    } else {
                        form.fields.push(Field {
                            name: text("name"),
                            value: text("value"),
                            kind: text("type"),
                            autocomplete: text("autocomplete"),
                        });
                    }
                }
                _ => {}
            }
        }
        Self { html, forms }
    }

    /// The address that the page leads on to by itself.
    pub(crate) fn refresh(&self) -> Option<String> {
        let meta = tags(&self.html).find(|tag| tag.name == "meta" && tag.text.contains("http-equiv=\"refresh\""))?;
        let content = meta.attribute("content")?;
        Some(content.split_once("url=")?.1.to_owned())
    }

    /// The key of the authenticator that the page sets up.
    pub(crate) fn key(&self) -> Option<String> {
        let (_, rest) = self.html.split_once("<p class=\"secret\"")?;
        Some(texts(rest.split_once("</p>")?.0, "span").concat())
    }

    /// The recovery codes on the page.
    pub(crate) fn recovery_codes(&self) -> Vec<String> {
        let list = self.html.split_once("<ol class=\"codes\"").map(|(_, rest)| rest);
        let list = list.and_then(|rest| Some(rest.split_once("</ol>")?.0));
        list.map_or(Vec::new(), |list| texts(list, "li"))
    }

    /// The code of the error that the page tells.
    pub(crate) fn error(&self) -> Option<String> {
        let (_, rest) = self.html.split_once("<dl class=\"facts\">")?;
        texts(rest.split_once("</dl>")?.0, "dd").into_iter().next()
    }
}

/// The texts of the elements of a name.
fn texts(html: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts = html.split(&open).skip(1);
    parts
        .filter_map(|part| Some(unescaped(part.split_once(&close)?.0)))
        .collect()
}

struct Tag<'a> {
    name: &'a str,
    text: &'a str,
}

impl Tag<'_> {
    fn attribute(&self, name: &str) -> Option<String> {
        let (_, rest) = self.text.split_once(&format!(" {name}=\""))?;
        Some(unescaped(rest.split_once('"')?.0))
    }
}

fn tags(html: &str) -> impl Iterator<Item = Tag<'_>> {
    html.split('<').skip(1).filter_map(|part| {
        let text = part.split_once('>')?.0;
        let name = text.split_whitespace().next()?;
        Some(Tag { name, text })
    })
}

/// The text that character references stand for.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let Some((reference, tail)) = after.split_once(';') else {
            break;
        };
        let number = reference.strip_prefix('#').and_then(|digits| digits.parse().ok());
        plain.push(match reference {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            _ => number.and_then(char::from_u32).unwrap_or('?'),
        });
        rest = tail;
    }
    plain.push_str(rest);
    plain
}

#[test]
fn a_page_is_read() {
    let page = Page::read(
        r#"<form method="post" action="/login/code"><input type="hidden" name="csrf" value="a&#38;b">
        <input name="code" type="text"><button type="submit" name="decision" value="mail">x</button></form>
        <p class="secret" translate="no"><span>AB</span> <span>CD</span> </p>"#
            .to_owned(),
    );
    let form = &page.forms[0];
    assert_eq!(form.action, "/login/code");
    assert_eq!(
        (form.fields[0].value.as_str(), form.fields[1].name.as_str()),
        ("a&b", "code")
    );
    assert_eq!(form.buttons[0], ("decision".to_owned(), "mail".to_owned()));
    assert_eq!(page.key().unwrap(), "ABCD");
}
