//! The page that a login shows in each of its states.

use super::codes::masked;
use super::step::{
    CodeError, Details, EmailLookupForm, FactorPage, LinkProofPage, LocalLoginForm, LoginContext, LoginPage,
    ProviderOption, Screen,
};
use super::totp;
use super::transaction::{AssertedIdentity, Linking, LoginState, Transaction};
use crate::domain::IdentityProviderName;
use crate::federation::config::{FederationConfig, Upstream};
use crate::federation::jit::attribute_path::{ClaimTarget, WritablePath};
use crate::federation::jit::claim_mapping::{self, ClaimMapping};
use crate::federation::jit::policy::ServiceProviderPolicy;
use crate::federation::jit::questions::Questions;

/// The page of a login, with its context.
pub(super) fn screen(config: &FederationConfig, transaction: &Transaction, policy: &ServiceProviderPolicy) -> Screen {
    Screen {
        context: context(transaction, policy),
        page: page(config, transaction, policy),
    }
}

/// The context that every page of a login shows.
pub(super) fn context(transaction: &Transaction, policy: &ServiceProviderPolicy) -> LoginContext {
    LoginContext {
        application: policy.display_name.clone(),
        ui_locales: transaction.request.ui_locales.clone(),
        again: transaction.request.again,
    }
}

fn page(config: &FederationConfig, transaction: &Transaction, policy: &ServiceProviderPolicy) -> LoginPage {
    match &transaction.state {
        LoginState::Proving | LoginState::Choosing | LoginState::Away { .. } => {
            transaction.linking.as_ref().map_or_else(
                || sign_in(config, transaction, policy),
                |linking| link_proof(config, transaction, policy, linking),
            )
        }
        LoginState::Asking {
            asserted, questions, ..
        } => LoginPage::Details(Box::new(Details {
            provider: config.display_name(&asserted.provider),
            known: known(config, asserted, questions),
            questions: questions.clone(),
            shortest_password: config.passwords.min_length,
        })),
        LoginState::Waiting { provider, reference } => LoginPage::Waiting {
            provider: config.display_name(provider),
            reference: reference.clone(),
        },
        _ => match factor(config, transaction) {
            Some(page) => LoginPage::SecondFactor(page),
            None => sign_in(config, transaction, policy),
        },
    }
}

fn link_proof(
    config: &FederationConfig,
    transaction: &Transaction,
    policy: &ServiceProviderPolicy,
    linking: &Linking,
) -> LoginPage {
    let provider = &linking.asserted.provider;
    let option = |name: &IdentityProviderName| ProviderOption {
        name: name.clone(),
        display_name: config.display_name(name),
    };
    LoginPage::LinkProof(LinkProofPage {
        provider: config.display_name(provider),
        username: linking.username.clone(),
        password: linking.proofs.password,
        providers: linking.proofs.providers.iter().map(option).collect(),
        mail: linking.proofs.mail.as_ref().map(|mail| masked(&mail.address)),
        may_rename: config.mode(provider, policy).asks_username(),
        failed: transaction.failed,
    })
}

fn sign_in(config: &FederationConfig, transaction: &Transaction, policy: &ServiceProviderPolicy) -> LoginPage {
    let choice = |name: &IdentityProviderName| {
        Some(ProviderOption {
            name: name.clone(),
            display_name: config.upstream(name)?.display_name(),
        })
    };
    let local = policy.local_login.then(|| LocalLoginForm {
        username: transaction.username.clone(),
        failed: transaction.failed,
    });
    let providers: Vec<ProviderOption> = policy.identity_providers.iter().filter_map(choice).collect();
    let has_domains = |upstream: &Upstream| !upstream.settings.trusted_email_domains.is_empty();
    let mut upstreams = policy
        .identity_providers
        .iter()
        .filter_map(|name| config.upstream(name));
    let asks_address = providers.len() > 1 && upstreams.any(has_domains);
    LoginPage::SignIn {
        providers,
        by_email: asks_address.then(|| EmailLookupForm {
            address: Some(&transaction.username)
                .filter(|name| name.contains('@'))
                .cloned()
                .unwrap_or_default(),
            is_unknown: transaction.wrong == Some(CodeError::Address),
        }),
        local,
    }
}

/// The page of a login whose second factor is asked for or set up.
fn factor(config: &FederationConfig, transaction: &Transaction) -> Option<FactorPage> {
    let wrong = transaction.wrong;
    match &transaction.state {
        LoginState::Challenging { mail, .. } => Some(FactorPage::Code {
            wrong,
            or_mail: mail.is_some(),
        }),
        LoginState::Mailed { mail, .. } => Some(FactorPage::MailCode {
            address: masked(&mail.address),
            wrong,
            or_authenticator: mail.or_authenticator,
        }),
        LoginState::Enrolling {
            seed, username, mail, ..
        } => Some(FactorPage::Enrol {
            uri: totp::uri(seed, config.public_url.host_str().unwrap_or("Vestibule"), username),
            key: totp::base32(seed),
            wrong,
            or_mail: mail.is_some(),
        }),
        LoginState::Enrolled { codes, .. } => Some(FactorPage::RecoveryCodes(codes.clone())),
        _ => None,
    }
}

/// The attributes that an identity provider asserts and that are stored for one of the purposes, as texts.
fn known(config: &FederationConfig, asserted: &AssertedIdentity, questions: &Questions) -> Vec<(WritablePath, String)> {
    let Some(upstream) = config.upstream(&asserted.provider) else {
        return Vec::new();
    };
    let mappings = asserted.mappings(upstream);
    let attributes = claim_mapping::attributes(&mappings, "", &asserted.identity.claims);
    let mut known: Vec<(WritablePath, String)> = Vec::new();
    let offered = || questions.purposes.iter().flat_map(|purpose| &purpose.attributes);
    let is_offered = |path: &WritablePath| offered().any(|attribute| attribute.path == *path);
    for path in mappings.iter().filter_map(ClaimMapping::path).filter(is_offered) {
        let value = ClaimTarget::parse(path.as_str()).and_then(|target| target.value(&attributes));
        let text = value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        known.extend(text.map(|text| (path, text)));
    }
    known
}
