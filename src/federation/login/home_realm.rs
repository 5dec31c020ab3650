//! Home-realm discovery: the domain of an e-mail address selects the identity provider.

use url::Url;

use super::Login;
use super::browser::Browser;
use super::step::CodeError;
use crate::domain::name;
use crate::federation::error::LoginError;

impl Login {
    /// Sends the person to the identity provider that is responsible for the domain of their e-mail address. None if
    /// there is no such provider: the page then says so.
    pub fn choose_by_email<'a>(
        &self,
        browser: impl Into<Browser<'a>>,
        address: &str,
    ) -> Result<Option<(String, Url)>, LoginError> {
        let browser = browser.into();
        let (mut loaded, policy) = self.load(browser)?;
        let Some(provider) = self.config.responsible(address, policy) else {
            loaded.transaction.username = address.chars().take(name::LONGEST).collect();
            loaded.transaction.wrong = Some(CodeError::Address);
            self.transactions.advance(&mut loaded)?;
            return Ok(None);
        };
        let url = self.choose(browser, &provider)?;
        Ok(Some((self.config.display_name(&provider), url)))
    }
}
