//! The configuration: the shipped files work, and every mistake is reported with its dotted key.

use std::path::Path;

use vestibule::config::{Config, ConfigProblem, MasterKey};
use vestibule::oidc::{ClientKeys, Endpoint};
use vestibule::provisioning::{Auth, ConnectorSettings, ScimTargetSettings};

const SHIPPED: &str = include_str!("../../config.toml");

/// The minimal configuration.
const LEAST: &str = r#"
[server]
listen = "127.0.0.1:0"
public_url = "http://127.0.0.1:8080"
[[userstores]]
name = "PRIMARY"
"#;

fn read(more: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<ConfigProblem>> {
    read_whole(&format!("{LEAST}{more}"), environment)
}

fn read_whole(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<ConfigProblem>> {
    let environment: Vec<(String, String)> = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Config::read(text, &environment)
}

fn keys(read: Result<Config, Vec<ConfigProblem>>) -> Vec<String> {
    read.unwrap_err().into_iter().map(|problem| problem.key).collect()
}

/// The shipped file with its commented settings enabled.
fn uncommented() -> String {
    let setting = |line: &str| {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let code = bare.trim_start();
        let is_setting = code.starts_with('[')
            || code
                .split_once(" = ")
                .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        if line.starts_with("# ") && is_setting {
            bare.to_owned()
        } else {
            line.to_owned()
        }
    };
    SHIPPED.lines().map(setting).collect::<Vec<_>>().join("\n")
}

/// The connector's settings of the first target.
fn scim_target(config: &Config) -> &ScimTargetSettings {
    let ConnectorSettings::Scim(settings) = &config.targets[0].connector;
    settings
}

#[test]
fn the_shipped_file_works_as_it_is() {
    let config = read_whole(SHIPPED, &[]).unwrap();
    assert_eq!(config.server.public_url, "http://127.0.0.1:8080");
    assert_eq!(config.service_providers.len(), 1);
    assert!(Config::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml")).is_ok());
}

#[test]
fn the_shipped_examples_work_when_they_are_switched_on() {
    let secrets = [
        ("GOOGLE_CLIENT_SECRET", "g"),
        ("GITHUB_CLIENT_SECRET", "h"),
        ("ENTRA_CLIENT_SECRET", "e"),
        ("WIKI_CLIENT_SECRET", "w"),
        ("CHAT_SCIM_TOKEN", "c"),
        ("SMTP_PASSWORD", "s"),
        ("CORP_LDAP_PASSWORD", "l"),
    ];
    let config = read_whole(&uncommented(), &secrets).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(config.identity_providers.len(), 3);
    assert_eq!(config.userstores.len(), 2);
    assert_eq!(config.targets.len(), 1);
    assert!(config.service_providers[0].client.is_some());
}

#[test]
fn the_least_configuration_works() {
    assert!(read("", &[]).is_ok());
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    assert_eq!(keys(read("[server2]\n", &[])), ["server2"]);
    assert_eq!(keys(read("[log]\nlevle = \"info\"\n", &[])), ["log.levle"]);
    let nested = "[[identity_providers]]\nname = \"g\"\nissuer = \"https://g\"\nclient_id = \"c\"\n[identity_providers.jit]\nmodus = \"off\"\n";
    assert_eq!(keys(read(nested, &[])), ["identity_providers[0].jit.modus"]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = r#"
        [server]
        listen = "nowhere"
        public_url = "ftp://x"
        [database]
        url = "oracle://x"
        [log]
        format = "xml"
        [[userstores]]
        name = "OTHER"
        kind = "nis"
        [[service_providers]]
        name = "a b"
        client_id = "a"
        [[targets]]
        name = "chat"
        base_url = "https://chat.example.com"
        timeout = "soon"
        concurrency = 0
    "#;
    let keys = keys(read_whole(text, &[]));
    for expected in [
        "server.listen",
        "server.public_url",
        "database.url",
        "log.format",
        "userstores[0].kind",
        "service_providers[0].name",
        "service_providers[0].redirect_uris",
        "targets[0].timeout",
        "targets[0].concurrency",
        "targets[0].auth",
    ] {
        assert!(
            keys.iter().any(|key| key == expected),
            "{expected} is missing in {keys:?}"
        );
    }
}

#[test]
fn references_between_sections_are_checked() {
    let text = "[[service_providers]]\nname = \"wiki\"\ninbound_userstore = \"X\"\nidentity_providers = [\"g\"]\noutbound = [{ target = \"t\" }]\n";
    assert_eq!(
        keys(read(text, &[])),
        [
            "service_providers[0].inbound_userstore",
            "service_providers[0].identity_providers",
            "service_providers[0].outbound",
        ]
    );
    assert_eq!(keys(read("[[userstores]]\nname = \"PRIMARY\"\n", &[])), ["userstores"]);
    assert_eq!(
        keys(read("[[service_providers]]\nname = \"resident\"\n", &[])),
        ["service_providers"]
    );
}

#[test]
fn a_grace_without_a_lease_is_a_mistake() {
    let google = "[[identity_providers]]\nname = \"g\"\nissuer = \"https://g.example\"\nclient_id = \"us\"\n[identity_providers.jit]\n";
    let lease = |more: &str| read(&format!("{google}{more}\n"), &[]);
    assert_eq!(
        keys(lease("lease_grace_days = 3")),
        ["identity_providers[0].jit.lease_grace_days"]
    );
    assert_eq!(keys(lease("lease_days = 0")), ["identity_providers[0].jit.lease_days"]);
    let jit = lease("lease_days = 3").unwrap().identity_providers[0].jit.clone();
    let days = |days: u64| std::time::Duration::from_hours(24 * days);
    let lease = jit.lease().unwrap();
    assert_eq!((lease.span, lease.grace), (days(3), days(30)));
}

#[test]
fn codes_by_mail_need_a_mail_server() {
    let wiki = "[[service_providers]]\nname = \"wiki\"\n";
    let mail = "[mail]\nhost = \"smtp.example\"\nfrom = \"login@id.example\"\n";
    for mfa in ["email_otp", "any"] {
        let wanted = format!("{wiki}mfa = \"{mfa}\"\n");
        assert_eq!(keys(read(&wanted, &[])), ["service_providers[0].mfa"]);
        assert!(read(&format!("{wanted}{mail}"), &[]).is_ok());
    }
    assert!(read(&format!("{wiki}mfa = \"totp\"\n"), &[]).is_ok());
}

#[test]
fn a_mail_server_is_reached_in_private_and_named_by_one_address() {
    let mail = |more: &str| {
        let least = format!("[mail]\n{more}\n");
        keys(read(&least, &[]))
    };
    let usual = "host = \"smtp.example\"\nfrom = \"login@id.example\"\n";
    assert_eq!(mail(&format!("{usual}encryption = \"none\"")), ["mail.encryption"]);
    for host in ["localhost", "127.0.0.1", "::1"] {
        let local = format!("host = \"{host}\"\nfrom = \"login@id.example\"\nencryption = \"none\"");
        assert!(read(&format!("[mail]\n{local}\n"), &[]).is_ok(), "{host}");
    }
    assert_eq!(mail(&format!("{usual}username = \"us\"")), ["mail.password"]);
    assert_eq!(mail(&format!("{usual}timeout = \"2m\"")), ["mail.timeout"]);
    for from in [
        "Us <login@id.example>",
        "login",
        "a@id.example, b@id.example",
        "a@id.example\\r\\nBcc: b@id.example",
    ] {
        assert_eq!(
            mail(&format!("host = \"smtp.example\"\nfrom = \"{from}\"")),
            ["mail.from"],
            "{from}"
        );
    }
}

#[test]
fn text_that_is_not_toml_is_told_with_its_line() {
    assert_eq!(keys(read_whole("[server]\nlisten = \n", &[])), ["line 2"]);
}

#[test]
fn a_file_that_is_not_there_is_told_with_its_path() {
    let problems = Config::load(Path::new("/nowhere/config.toml")).unwrap_err();
    assert_eq!(problems[0].key, "/nowhere/config.toml");
    assert!(problems[0].message.contains("--config"));
}

#[test]
fn the_environment_overrides_the_file() {
    let config = read(
        "[[service_providers]]\nname = \"wiki\"\n",
        &[
            ("VESTIBULE_SERVER__LISTEN", "127.0.0.1:9"),
            ("VESTIBULE_LOG__FORMAT", "json"),
            ("VESTIBULE_SERVICE_PROVIDERS__0__DISPLAY_NAME", "Docs"),
            ("VESTIBULE_CONFIG", "elsewhere"),
            ("HOME", "/root"),
        ],
    )
    .unwrap();
    assert_eq!(config.server.listen.port(), 9);
    assert!(config.log.json);
    assert_eq!(config.service_providers[0].policy.display_name, "Docs");
}

#[test]
fn a_text_from_the_environment_may_look_like_a_number() {
    let config = read(
        "[[service_providers]]\nname = \"wiki\"\nlocal_login = true\nclient_id = \"wiki\"\nredirect_uris = [\"https://w.example/cb\"]\n",
        &[
            ("VESTIBULE_SERVICE_PROVIDERS__0__CLIENT_SECRET", "1234567890123456"),
            ("VESTIBULE_SERVICE_PROVIDERS__0__DISPLAY_NAME", "42"),
        ],
    )
    .unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(config.service_providers[0].policy.display_name, "42");
}

#[test]
fn numbers_and_flags_come_from_the_environment_too() {
    let config = read(
        "[[targets]]\nname = \"t\"\nbase_url = \"https://t.example\"\nauth = { bearer = \"s\" }\n",
        &[
            ("VESTIBULE_TARGETS__0__CONCURRENCY", "7"),
            ("VESTIBULE_TARGETS__0__ALLOW_PRIVATE_NETWORK", "true"),
        ],
    )
    .unwrap();
    assert_eq!(
        (
            config.targets[0].concurrency,
            scim_target(&config).allow_private_network
        ),
        (7, true)
    );
}

#[test]
fn an_override_that_meets_nothing_is_a_mistake() {
    assert_eq!(keys(read("", &[("VESTIBULE_SERVER__LISTNE", "x")])), ["server.listne"]);
    let beyond = "VESTIBULE_TARGETS__0__BASE_URL";
    assert!(!keys(read("targets = []\n", &[(beyond, "https://x")])).is_empty());
}

#[test]
fn secrets_come_from_the_text_the_environment_or_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "from-file\n").unwrap();
    let target = |secret: &str| -> Result<String, Vec<ConfigProblem>> {
        let text =
            format!("[[targets]]\nname = \"t\"\nbase_url = \"https://t.example\"\nauth = {{ bearer = {secret} }}\n");
        let config = read(&text, &[("TOKEN", "from-env")])?;
        match &scim_target(&config).auth {
            Auth::Bearer(secret) => Ok(secret.expose().to_owned()),
            _ => Ok("not a bearer".to_owned()),
        }
    };
    let problem = |secret: &str| target(secret).unwrap_err()[0].clone();
    assert_eq!(target("\"inline\"").unwrap(), "inline");
    assert_eq!(target("{ env = \"TOKEN\" }").unwrap(), "from-env");
    assert_eq!(
        target(&format!("{{ file = {:?} }}", file.display().to_string())).unwrap(),
        "from-file"
    );
    assert_eq!(problem("{ env = \"ABSENT\" }").key, "targets[0].auth.bearer");
    assert_eq!(problem("{ file = \"/nowhere\" }").key, "targets[0].auth.bearer");
    assert_eq!(problem("{ env = \"A\", file = \"B\" }").key, "targets[0].auth.bearer");
    assert_eq!(problem("\"\"").key, "targets[0].auth.bearer");
}

#[test]
fn a_master_key_file_is_not_read_before_it_is_made() {
    let config = read("[security]\nmaster_key = { file = \"/nowhere/key\" }\n", &[]).unwrap();
    assert!(matches!(config.master_key, MasterKey::File(path) if path == Path::new("/nowhere/key")));
}

const CANARY: &str = "c4n4ry-5ecret";

/// A configuration with the canary in every place for a secret.
fn with_secrets() -> String {
    format!(
        r#"
        [database]
        url = "postgres://app:{CANARY}@127.0.0.1/db?sslmode=disable&password={CANARY}"
        [security]
        master_key = "{CANARY}"
        [mail]
        host = "smtp.example"
        from = "login@id.example"
        username = "us"
        password = "{CANARY}"
        [[identity_providers]]
        name = "g"
        issuer = "https://g.example"
        client_id = "c"
        client_secret = "{CANARY}"
        [[service_providers]]
        name = "wiki"
        client_id = "wiki"
        client_secret = "{CANARY}"
        redirect_uris = ["https://w.example/cb"]
        identity_providers = ["g"]
        [[targets]]
        name = "a"
        base_url = "https://t.example"
        auth = {{ bearer = "{CANARY}" }}
        [[targets]]
        name = "b"
        base_url = "https://t.example"
        auth = {{ username = "u", password = "{CANARY}" }}
        [[targets]]
        name = "c"
        base_url = "https://t.example"
        auth = {{ header = "X-Key", value = "{CANARY}" }}
        "#
    )
}

#[test]
fn no_secret_shows_in_debug_output() {
    let config = read(&with_secrets(), &[]).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains(CANARY), "{shown}");
    assert!(shown.contains("[hidden]"));
}

#[test]
fn no_secret_shows_in_a_problem() {
    for broken in [
        "[database]",
        "redirect_uris = [\"https://w.example/cb\"]",
        "auth = {",
        "name = \"wiki\"",
    ] {
        let text = with_secrets().replacen(broken, &format!("oops = 1\n{broken}"), 1);
        if let Err(problems) = read(&text, &[]) {
            assert!(!format!("{problems:?}").contains(CANARY), "{problems:?}");
        }
    }
    let wrong_place = format!(
        "[[targets]]\nname = \"t\"\nbase_url = \"https://u:{CANARY}@t.example\"\nauth = {{ bearer = [\"{CANARY}\"] }}\n"
    );
    let problems = read(&wrong_place, &[]).unwrap_err();
    assert!(!format!("{problems:?}").contains(CANARY), "{problems:?}");
    let problems = read(&format!("[database]\nurl = \"mysql://app:{CANARY}@h/d\"\n"), &[]).unwrap_err();
    assert!(!format!("{problems:?}").contains(CANARY), "{problems:?}");
}

/// A service provider with additional lines.
fn provider(more: &str) -> Result<Config, Vec<ConfigProblem>> {
    let least = "[[service_providers]]\nname = \"wiki\"\nlocal_login = true\nclient_id = \"wiki\"\nredirect_uris = [\"https://w.example/cb\"]\n";
    read(&format!("{least}{more}"), &[])
}

/// The public key of RFC 8037, appendix A.2.
const KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

#[test]
fn client_keys_are_inline_jwks_or_a_jwks_uri() {
    let table = format!("jwks = {{ keys = [{{ kty = \"OKP\", crv = \"Ed25519\", x = \"{KEY}\" }}] }}\n");
    let json = format!("jwks = '{{\"keys\":[{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{KEY}\"}}]}}'\n");
    let keys = |more: &str| {
        let config = provider(more).unwrap_or_else(|problems| panic!("{problems:#?}"));
        config.service_providers[0].client.as_ref().unwrap().keys.clone()
    };
    assert_eq!(keys(&table), keys(&json));
    assert_eq!(
        keys("jwks_uri = \"https://w.example/jwks\"\n"),
        Some(ClientKeys::Published(Endpoint {
            url: "https://w.example/jwks".to_owned(),
            allow_private_network: false,
        }))
    );
    assert_eq!(keys(""), None);
}

#[test]
fn keys_that_prove_nothing_or_should_not_be_here_are_mistakes() {
    let private =
        format!("jwks = {{ keys = [{{ kty = \"OKP\", crv = \"Ed25519\", x = \"{KEY}\", d = \"{KEY}\" }}] }}\n");
    for (more, key) in [
        ("jwks = 7\n", "jwks"),
        ("jwks = \"no JSON\"\n", "jwks"),
        ("jwks = { keys = [] }\n", "jwks"),
        (private.as_str(), "jwks"),
        ("jwks_uri = \"nowhere\"\n", "jwks_uri"),
        ("jwks_uri = \"http://w/jwks\"\n", "jwks_uri"),
        (
            "backchannel_logout_uri = \"http://w/logout\"\n",
            "backchannel_logout_uri",
        ),
        ("jwks_uri = \"https://w/jwks\"\njwks = { keys = [] }\n", "jwks_uri"),
        (
            "jwks_uri = \"https://w/jwks\"\nclient_secret = \"s\"\n",
            "client_secret",
        ),
    ] {
        assert_eq!(keys(provider(more)), [format!("service_providers[0].{key}")], "{more}");
    }
}

#[test]
fn client_credentials_only_provider_needs_no_redirect_uri() {
    let least = "[[service_providers]]\nname = \"robot\"\nclient_id = \"robot\"\n";
    let robot = |more: &str| read(&format!("{least}{more}"), &[]);
    let config =
        robot("client_secret = \"s\"\nclient_credentials = true\n").unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert!(
        config.service_providers[0]
            .client
            .as_ref()
            .unwrap()
            .scim_tokens
            .is_some()
    );
    assert_eq!(
        keys(robot("client_credentials = true\n")),
        ["service_providers[0].client_credentials"]
    );
    assert_eq!(
        keys(robot("client_secret = \"s\"\n")),
        ["service_providers[0].redirect_uris"]
    );
}

const DIRECTORY: &str = r#"
[[userstores]]
name = "CORP"
kind = "ldap"
url = "ldaps://ldap.example.com"
bind_dn = "cn=us,dc=example,dc=com"
bind_password = { env = "LDAP" }
user_base = "ou=people,dc=example,dc=com"
group_base = "ou=groups,dc=example,dc=com"
"#;

#[test]
fn a_directory_is_a_userstore() {
    let config = read(DIRECTORY, &[("LDAP", "secret-of-ours")]).unwrap();
    let names: Vec<&str> = config.userstores.iter().map(|store| store.name.as_str()).collect();
    assert_eq!(names, ["PRIMARY", "CORP"]);
    assert!(!format!("{config:?}").contains("secret-of-ours"));
}

#[test]
fn passwords_for_a_directory_never_go_in_clear() {
    for (url, more, is_good) in [
        ("ldap://ldap.example.com", "", false),
        ("ldap://10.0.0.1", "", false),
        ("ldap://127.0.0.1.example.com", "", false),
        ("http://ldap.example.com", "", false),
        ("ldap://ldap.example.com", "start_tls = true", true),
        ("ldap://127.0.0.1:1389", "", true),
        ("ldap://[::1]", "", true),
        ("ldaps://ldap.example.com", "start_tls = true", false),
        (
            "ldaps://a.example.com",
            "failover_urls = [\"ldap://b.example.com\"]",
            false,
        ),
    ] {
        let text = DIRECTORY.replace("ldaps://ldap.example.com", url) + more;
        let read = read(&text, &[("LDAP", "x")]);
        assert_eq!(read.is_ok(), is_good, "{url} {more}: {read:?}");
    }
}

#[test]
fn check_reports_missing_parts_of_a_directory() {
    let text = "[[userstores]]\nname = \"CORP\"\nkind = \"ldap\"\nflavour = \"novell\"\nuser_base = \"people\"\n";
    assert_eq!(
        keys(read(text, &[])),
        ["url", "bind_dn", "bind_password", "user_base", "group_base", "flavour"]
            .map(|key| format!("userstores[1].{key}"))
    );
}

#[test]
fn public_url_has_no_path() {
    for (url, is_good) in [
        ("https://id.example", true),
        ("https://id.example/", true),
        ("https://id.example/vestibule", false),
        ("https://id.example?x=1", false),
    ] {
        let text = SHIPPED.replace("http://127.0.0.1:8080", url);
        let problems = read_whole(&text, &[]).err().unwrap_or_default();
        let is_named = problems.iter().any(|problem| problem.key == "server.public_url");
        assert_eq!(is_named, !is_good, "{url}: {problems:?}");
    }
}

#[test]
fn unknown_log_level_is_a_mistake() {
    for (level, is_good) in [
        ("debug", true),
        ("warn,vestibule=debug", true),
        ("verbose", false),
        ("vestibule", false),
        ("", false),
    ] {
        let text = SHIPPED.replace("level = \"info\"", &format!("level = \"{level}\""));
        let problems = read_whole(&text, &[]).err().unwrap_or_default();
        let is_named = problems.iter().any(|problem| problem.key == "log.level");
        assert_eq!(is_named, !is_good, "{level}: {problems:?}");
    }
}
