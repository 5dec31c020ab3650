//! Whether a service provider accepts a login: the identity provider that asserted it, and the second factor that its
//! policy requires. It is asked before every code.

use super::client::Client;
use crate::domain::login::Authentication;

impl Client {
    /// Returns whether it accepts users who logged in like this.
    pub(crate) fn accepts(&self, authentication: &Authentication) -> bool {
        let by = match &authentication.identity_provider {
            Some(name) => self.identity_providers.contains(name),
            None => self.local_login,
        };
        let used = |required: &&str| authentication.amr.iter().any(|method| method == required);
        by && (self.required_methods.is_empty() || self.required_methods.iter().any(used))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{authentication, confidential};
    use super::*;

    #[test]
    fn login_by_an_unlisted_identity_provider_is_refused() {
        let mut login = authentication();
        assert!(confidential().accepts(&login));
        login.identity_provider = Some("github".into());
        assert!(!confidential().accepts(&login));
        login.identity_provider = Some("google".into());
        assert!(confidential().accepts(&login));
        login.identity_provider = None;
        assert!(
            !Client {
                local_login: false,
                required_methods: &[],
                ..confidential()
            }
            .accepts(&login)
        );
    }

    #[test]
    fn required_second_factor_refuses_sessions_without_one() {
        let strict = Client {
            required_methods: &["mfa"],
            ..confidential()
        };
        let mut login = authentication();
        assert!(confidential().accepts(&login) && !strict.accepts(&login));
        login.amr.push("mfa".to_owned());
        assert!(strict.accepts(&login));
        login.identity_provider = Some("other".into());
        assert!(!strict.accepts(&login));
    }
}
