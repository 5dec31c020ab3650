//! Fifty plausible mistakes in a configuration, most of them settings as other products spell them: each is reported with
//! its key and a way out before anybody logs in.

use vestibule::config::{Config, ConfigProblem};

/// A configuration that works: a provider and an application.
const GOOD: &str = r#"
[server]
listen = "127.0.0.1:8080"
public_url = "https://id.example.com"
[database]
url = "sqlite:data/vestibule.db"
[[userstores]]
name = "PRIMARY"
[[identity_providers]]
name = "up"
issuer = "https://login.example.com"
client_id = "vestibule"
client_secret = { env = "UP_SECRET" }
scopes = ["openid", "email"]
[identity_providers.jit]
mode = "consent"
username = { claim = "email" }
[[service_providers]]
name = "wiki"
client_id = "wiki"
client_secret = { env = "WIKI_SECRET" }
redirect_uris = ["https://wiki.example.com/callback"]
identity_providers = ["up"]
"#;

/// A mistake: a line of the configuration, what stands there instead, and the key and a word of the report.
struct Mistake {
    line: &'static str,
    instead: &'static str,
    key: &'static str,
    says: &'static str,
}

const fn mistake(line: &'static str, instead: &'static str, key: &'static str, says: &'static str) -> Mistake {
    Mistake {
        line,
        instead,
        key,
        says,
    }
}

const LISTEN: &str = r#"listen = "127.0.0.1:8080""#;
const PUBLIC_URL: &str = r#"public_url = "https://id.example.com""#;
const DATABASE: &str = r#"url = "sqlite:data/vestibule.db""#;
const STORE: &str = r#"name = "PRIMARY""#;
const IDP_NAME: &str = r#"name = "up""#;
const ISSUER: &str = r#"issuer = "https://login.example.com""#;
const IDP_CLIENT: &str = r#"client_id = "vestibule""#;
const IDP_SECRET: &str = r#"client_secret = { env = "UP_SECRET" }"#;
const SCOPES: &str = r#"scopes = ["openid", "email"]"#;
const MODE: &str = r#"mode = "consent""#;
const USERNAME: &str = r#"username = { claim = "email" }"#;
const SP_NAME: &str = r#"name = "wiki""#;
const SP_SECRET: &str = r#"client_secret = { env = "WIKI_SECRET" }"#;
const REDIRECT: &str = r#"redirect_uris = ["https://wiki.example.com/callback"]"#;
const PROVIDERS: &str = r#"identity_providers = ["up"]"#;

const MISTAKES: [Mistake; 50] = [
    mistake(LISTEN, "listen = 8080", "server.listen", "string in quotes"),
    mistake(
        LISTEN,
        r#"listen = "localhost:8080""#,
        "server.listen",
        "127.0.0.1:8080",
    ),
    mistake(LISTEN, r#"listen = "127.0.0.1""#, "server.listen", "port"),
    mistake(
        LISTEN,
        r#"address = "127.0.0.1:8080""#,
        "server.address",
        "not a known setting",
    ),
    mistake(
        PUBLIC_URL,
        r#"public_url = "id.example.com""#,
        "server.public_url",
        "https://",
    ),
    mistake(
        PUBLIC_URL,
        r#"public_url = "https://id.example.com/auth""#,
        "server.public_url",
        "path",
    ),
    mistake(
        PUBLIC_URL,
        r#"hostname = "id.example.com""#,
        "server.hostname",
        "not a known setting",
    ),
    mistake(
        PUBLIC_URL,
        r#"public_url = "https://id.example.com"
trusted_proxies = ["proxy.example.com"]"#,
        "server.trusted_proxies",
        "network",
    ),
    mistake(
        PUBLIC_URL,
        r#"public_url = "https://id.example.com"
events_kept = "90 days""#,
        "server.events_kept",
        "90d",
    ),
    mistake(
        DATABASE,
        r#"url = "mysql://root@localhost/id""#,
        "database.url",
        "sqlite:",
    ),
    mistake(DATABASE, r#"url = "data/vestibule.db""#, "database.url", "sqlite:"),
    mistake(
        DATABASE,
        r#"driver = "sqlite""#,
        "database.driver",
        "not a known setting",
    ),
    mistake(STORE, r#"name = "MAIN""#, "userstores", "PRIMARY"),
    mistake(
        STORE,
        "name = \"PRIMARY\"\nkind = \"mysql\"",
        "userstores[0].kind",
        "ldap",
    ),
    mistake(
        STORE,
        "name = \"PRIMARY\"\nkind = \"ldap\"\nurl = \"ldap://ldap.example.com\"",
        "userstores[0].url",
        "start_tls",
    ),
    mistake(
        IDP_NAME,
        r#"name = "My Provider""#,
        "identity_providers[0].name",
        "letters",
    ),
    mistake(
        IDP_NAME,
        "name = \"up\"\npreset = \"auth0\"",
        "identity_providers[0].preset",
        "google",
    ),
    mistake(
        IDP_NAME,
        "name = \"up\"\nkind = \"saml\"",
        "identity_providers[0].kind",
        "oidc",
    ),
    mistake(ISSUER, "", "identity_providers[0].issuer", "missing"),
    mistake(
        ISSUER,
        r#"issuer = "login.example.com""#,
        "identity_providers[0].issuer",
        "https",
    ),
    mistake(
        ISSUER,
        r#"issuer = "http://login.example.com""#,
        "identity_providers[0].issuer",
        "https",
    ),
    mistake(
        ISSUER,
        r#"issuer = "https://login.example.com/.well-known/openid-configuration""#,
        "identity_providers[0].issuer",
        "well-known",
    ),
    mistake(
        IDP_CLIENT,
        r#"clientId = "vestibule""#,
        "identity_providers[0].clientId",
        "not a known setting",
    ),
    mistake(
        IDP_CLIENT,
        r#"client_id = """#,
        "identity_providers[0].client_id",
        "empty",
    ),
    mistake(
        IDP_SECRET,
        "client_secret = \"${UP_SECRET}\"",
        "identity_providers[0].client_secret",
        "env",
    ),
    mistake(
        IDP_SECRET,
        r#"client_secret = { env = "NOT_SET" }"#,
        "identity_providers[0].client_secret",
        "NOT_SET",
    ),
    mistake(
        IDP_SECRET,
        r#"client_secret = { file = "/does/not/exist" }"#,
        "identity_providers[0].client_secret",
        "/does/not/exist",
    ),
    mistake(
        SCOPES,
        r#"scopes = "openid email""#,
        "identity_providers[0].scopes",
        "list",
    ),
    mistake(
        SCOPES,
        r#"scope = ["openid"]"#,
        "identity_providers[0].scope",
        "not a known setting",
    ),
    mistake(
        SCOPES,
        r#"scopes = ["email"]"#,
        "identity_providers[0].scopes",
        "openid",
    ),
    mistake(MODE, r#"mode = "auto""#, "identity_providers[0].jit.mode", "silent"),
    mistake(
        MODE,
        "mode = \"consent\"\nuserstore = \"CORP\"",
        "identity_providers[0].jit.userstore",
        "CORP",
    ),
    mistake(
        MODE,
        "mode = \"consent\"\nlease_days = -1",
        "identity_providers[0].jit.lease_days",
        "number",
    ),
    mistake(
        MODE,
        "mode = \"consent\"\npurposes = [\"profile\"]",
        "identity_providers[0].jit.purposes",
        "profile",
    ),
    mistake(
        MODE,
        "mode = \"consent\"\non_conflict = \"link\"",
        "identity_providers[0].jit.on_conflict",
        "ask",
    ),
    mistake(
        MODE,
        "mode = \"consent\"\nsync = \"force\"",
        "identity_providers[0].jit.sync",
        "override",
    ),
    mistake(
        USERNAME,
        r#"username = "email""#,
        "identity_providers[0].jit.username",
        "claim",
    ),
    mistake(
        USERNAME,
        "username = { claim = \"email\" }\ngroups = \"groups\"",
        "identity_providers[0].jit.groups",
        "table of settings",
    ),
    mistake(
        USERNAME,
        "username = { claim = \"email\" }\n[[identity_providers.claims]]\nfrom = \"{{ given_name\"\nto = \"name.givenName\"",
        "identity_providers[0].claims[0]",
        "template",
    ),
    mistake(
        SP_NAME,
        "name = \"wiki\"\n[[service_providers]]\nname = \"wiki\"",
        "service_providers",
        "twice",
    ),
    mistake(
        SP_SECRET,
        r#"client_secret = { env = "WIKI_SECRET", default = "x" }"#,
        "service_providers[0].client_secret",
        "env",
    ),
    mistake(
        REDIRECT,
        r#"redirect_uris = "https://wiki.example.com/callback""#,
        "service_providers[0].redirect_uris",
        "list",
    ),
    mistake(
        REDIRECT,
        r#"redirect_uris = ["https://wiki.example.com/*"]"#,
        "service_providers[0].redirect_uris",
        "wildcard",
    ),
    mistake(
        REDIRECT,
        r#"redirect_uris = ["http://wiki.example.com/callback"]"#,
        "service_providers[0].redirect_uris",
        "https",
    ),
    mistake(
        REDIRECT,
        r#"redirect_uris = ["https://wiki.example.com/callback#top"]"#,
        "service_providers[0].redirect_uris",
        "fragment",
    ),
    mistake(REDIRECT, "", "service_providers[0].redirect_uris", "client_id"),
    mistake(
        PROVIDERS,
        r#"identity_providers = ["google"]"#,
        "service_providers[0].identity_providers",
        "google",
    ),
    mistake(
        PROVIDERS,
        "identity_providers = [\"up\"]\nmfa = \"sms\"",
        "service_providers[0].mfa",
        "totp",
    ),
    mistake(
        PROVIDERS,
        "identity_providers = [\"up\"]\noutbound = [{ target = \"chat\" }]",
        "service_providers[0].outbound",
        "chat",
    ),
    mistake(
        PROVIDERS,
        "identity_providers = [\"up\"]\nmfa = \"email_otp\"",
        "service_providers[0].mfa",
        "[mail]",
    ),
];

fn read(text: &str) -> Result<Config, Vec<ConfigProblem>> {
    let environment =
        ["UP_SECRET", "WIKI_SECRET"].map(|name| (name.to_owned(), "a secret that is long enough".to_owned()));
    Config::read(text, &environment)
}

#[test]
fn the_configuration_without_a_mistake_works() {
    read(GOOD).unwrap();
}

#[test]
fn each_mistake_is_reported_with_its_key_and_a_way_out() {
    let mut unreported = Vec::new();
    for Mistake {
        line,
        instead,
        key,
        says,
    } in MISTAKES
    {
        assert_eq!(GOOD.matches(line).count(), 1, "{line} is in the configuration once");
        let problems = read(&GOOD.replace(line, instead)).err().unwrap_or_default();
        let is_told = |problem: &ConfigProblem| problem.key.starts_with(key) && problem.message.contains(says);
        if !problems.iter().any(is_told) {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            unreported.push(format!("{instead:?}\n  wanted {key}: … {says} …\n  told   {told:?}"));
        }
    }
    assert!(unreported.is_empty(), "\n{}\n", unreported.join("\n"));
}
