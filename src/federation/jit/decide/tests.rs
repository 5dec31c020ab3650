use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::Secret;
use crate::federation::jit::policy::{ApprovalRule, wiki};

mod asked;

/// Facts that a test owns and changes.
#[derive(Clone, Debug)]
struct Case {
    policy: JitPolicy,
    trusted: Vec<String>,
    claims: Vec<ClaimMapping>,
    service_provider: ServiceProviderPolicy,
    identity: Identity,
    linked: Option<LocalAccount>,
    wanted: DesiredAccount,
    proved: Option<ResourceId>,
    purposes: Vec<Purpose>,
    given: Vec<Consent>,
    expected: Option<ExpectedAccount>,
    unlinked: bool,
    approval: ApprovalStatus,
    wishes: LoginPreferences,
    answers: Option<Answers>,
}

impl Case {
    /// A first login of Bob, whose name is free.
    fn new() -> Self {
        let claims = json!({"sub": "1", "email": "bob@example.com", "email_verified": true});
        let claims = claims.as_object().unwrap().clone();
        let purposes = vec![claim_mapping::account_purpose(&claim_mapping::standard(), &claims)];
        Self {
            policy: JitPolicy::default(),
            trusted: Vec::new(),
            claims: claim_mapping::standard(),
            service_provider: wiki(),
            identity: Identity {
                issuer: "https://idp.example".to_owned(),
                subject: "1".to_owned(),
                claims,
                token: None,
            },
            linked: None,
            wanted: DesiredAccount::Named {
                store: StoreName::PRIMARY,
                username: "bob".to_owned(),
                holder: None,
            },
            proved: None,
            purposes,
            given: Vec::new(),
            expected: None,
            unlinked: false,
            approval: ApprovalStatus::None,
            wishes: LoginPreferences::default(),
            answers: None,
        }
    }

    /// A first login of Bob, whose name another account has.
    fn taken() -> Self {
        let mut case = Self::new();
        case.wanted = DesiredAccount::Named {
            store: StoreName::PRIMARY,
            username: "bob".to_owned(),
            holder: Some(bob()),
        };
        case
    }

    /// A name conflict that meets every condition for linking.
    fn verified() -> Self {
        let mut case = Self::taken();
        case.policy.on_conflict = OnConflict::LinkVerifiedEmail;
        case.trusted = vec!["example.com".to_owned()];
        case
    }

    fn claim(mut self, name: &str, value: Value) -> Self {
        self.identity.claims.insert(name.to_owned(), value);
        self
    }

    fn holder(&mut self) -> &mut LocalAccount {
        match &mut self.wanted {
            DesiredAccount::Named {
                holder: Some(holder), ..
            } => holder,
            _ => panic!("nobody has the name"),
        }
    }

    fn decide(&self) -> Decision {
        // The page showed the purposes as they are.
        let answers = self.answers.clone().map(|answers| Answers {
            shown: self.purposes.clone(),
            ..answers
        });
        decide(&DecisionInput {
            provider: &"google".into(),
            policy: &self.policy,
            trusted_email_domains: &self.trusted,
            claims: &self.claims,
            service_provider: &self.service_provider,
            identity: &self.identity,
            purposes: &self.purposes,
            passwords: PasswordPolicy::default(),
            linked: self.linked.as_ref(),
            expected: self.expected.as_ref(),
            unlinked: self.unlinked,
            approval: &self.approval,
            given: &self.given,
            wanted: &self.wanted,
            proved: self.proved.as_ref(),
            wishes: &self.wishes,
            answers: answers.as_ref(),
        })
    }
}

fn bob() -> LocalAccount {
    LocalAccount {
        store: StoreName::PRIMARY,
        id: "id-bob".into(),
        username: "bob".to_owned(),
        active: true,
        lease_expired: false,
        administrator: false,
        present: Vec::new(),
        verified_email: Some("bob@example.com".to_owned()),
    }
}

fn asked() -> Decision {
    Decision::Ask(LoginPrompt::LinkProof(bob()))
}

#[test]
fn a_linked_person_enters() {
    let mut case = Case::taken();
    case.linked = Some(bob());
    assert_eq!(case.decide(), Decision::Complete(bob(), Agreement::default()));
    case.policy.mode = JitMode::Off;
    assert_eq!(case.decide(), Decision::Complete(bob(), Agreement::default()));
}

#[test]
fn an_account_of_a_trusted_scim_client_is_linked_by_subject() {
    for mode in [JitMode::Silent, JitMode::Off] {
        let mut case = Case::taken();
        case.policy.mode = mode;
        let expected = LocalAccount {
            username: "hr-4711".to_owned(),
            id: "id-hr".into(),
            ..bob()
        };
        case.expected = Some(known(expected.clone()));
        let link = Proposal::Link(expected.clone(), Agreement::default());
        assert_eq!(case.decide(), Decision::Provision(link));
        case.expected = Some(known(LocalAccount {
            active: false,
            ..expected
        }));
        assert_eq!(case.decide(), Decision::Refuse(Denial::AccountDisabled));
    }
}

#[test]
fn an_administrator_is_not_linked_by_subject_alone() {
    let mut case = Case::taken();
    case.expected = Some(known(LocalAccount {
        administrator: true,
        ..bob()
    }));
    assert!(matches!(case.decide(), Decision::Ask(LoginPrompt::LinkProof(_))));
}

/// An account whose trusted client needs no further proof.
fn known(account: LocalAccount) -> ExpectedAccount {
    let needs_proof = false;
    ExpectedAccount { account, needs_proof }
}

#[test]
fn a_disabled_person_stays_outside() {
    let mut case = Case::new();
    case.linked = Some(LocalAccount { active: false, ..bob() });
    assert_eq!(case.decide(), Decision::Refuse(Denial::AccountDisabled));
}

#[test]
fn a_provider_that_the_application_does_not_list_is_refused() {
    let mut case = Case::new();
    case.linked = Some(bob());
    case.service_provider.identity_providers = vec!["other".into()];
    assert_eq!(case.decide(), Decision::Refuse(Denial::ProviderNotAllowed));
}

#[test]
fn without_provisioning_a_stranger_stays_outside() {
    let mut case = Case::new();
    case.policy.mode = JitMode::Off;
    assert_eq!(case.decide(), Decision::Refuse(Denial::NoAccount));
}

#[test]
fn a_first_login_makes_an_account() {
    let create = Proposal::Create {
        store: StoreName::PRIMARY,
        username: "bob".to_owned(),
        agreement: Agreement::default(),
    };
    assert_eq!(Case::new().decide(), Decision::Provision(create));
}

#[test]
fn a_first_login_waits_for_approval_before_anything_is_asked() {
    for mode in [JitMode::Silent, JitMode::UsernamePasswordConsent] {
        let mut case = Case::new();
        case.policy.mode = mode;
        let free = case.decide();
        case.policy.approval = ApprovalRule::Always;
        assert_eq!(case.decide(), Decision::Ask(LoginPrompt::Approval));
        case.approval = ApprovalStatus::Granted;
        assert_eq!(case.decide(), free);
        let reason = "not yet".to_owned();
        case.approval = ApprovalStatus::Refused { reason: reason.clone() };
        assert_eq!(case.decide(), Decision::Refuse(Denial::NotApproved { reason }));
    }
}

#[test]
fn a_login_with_another_name_waits_for_approval_too() {
    let mut case = Case::taken();
    case.policy.mode = JitMode::UsernamePasswordConsent;
    case.policy.approval = ApprovalRule::Always;
    case.wishes.another_name = true;
    assert_eq!(case.decide(), Decision::Ask(LoginPrompt::Approval));
}

#[test]
fn a_person_with_an_account_needs_no_approval() {
    let mut case = Case::new();
    case.policy.approval = ApprovalRule::Always;
    case.linked = Some(bob());
    assert_eq!(case.decide(), Decision::Complete(bob(), Agreement::default()));
    let mut case = Case::taken();
    case.policy.approval = ApprovalRule::Always;
    assert_eq!(case.decide(), asked());
}

#[test]
fn only_an_account_disabled_by_its_lease_is_enabled_by_a_login() {
    let mut case = Case::new();
    let off = LocalAccount { active: false, ..bob() };
    case.linked = Some(off.clone());
    assert_eq!(case.decide(), Decision::Refuse(Denial::AccountDisabled));
    let lease_expired = LocalAccount {
        lease_expired: true,
        ..off
    };
    case.linked = Some(lease_expired.clone());
    assert_eq!(
        case.decide(),
        Decision::Provision(Proposal::Renew(lease_expired.clone()))
    );
    let mut case = Case::taken();
    *case.holder() = lease_expired;
    case.proved = Some("id-bob".into());
    assert_eq!(case.decide(), Decision::Refuse(Denial::NameTaken));
}

#[test]
fn an_unclear_name_refuses_the_first_login_only() {
    let mut case = Case::new();
    case.wanted = DesiredAccount::Unclear(Denial::BadUsername);
    assert_eq!(case.decide(), Decision::Refuse(Denial::BadUsername));
    case.linked = Some(bob());
    assert_eq!(case.decide(), Decision::Complete(bob(), Agreement::default()));
}

#[test]
fn a_taken_name_is_asked_for_its_password() {
    assert_eq!(Case::taken().decide(), asked());
}

#[test]
fn a_proof_links() {
    let mut case = Case::taken();
    case.proved = Some(bob().id);
    assert_eq!(
        case.decide(),
        Decision::Provision(Proposal::Link(bob(), Agreement::default()))
    );
}

#[test]
fn a_proof_of_another_account_links_nothing() {
    let mut case = Case::taken();
    case.proved = Some("id-mallory".into());
    assert_eq!(case.decide(), asked());
}

#[test]
fn a_taken_name_refuses_where_the_policy_says_so() {
    let mut case = Case::taken();
    case.policy.on_conflict = OnConflict::Refuse;
    case.proved = Some(bob().id);
    assert_eq!(case.decide(), Decision::Refuse(Denial::NameTaken));
}

#[test]
fn a_disabled_account_is_not_taken_over() {
    for mut case in [Case::taken(), Case::verified()] {
        case.proved = Some(bob().id);
        case.holder().active = false;
        assert_eq!(case.decide(), Decision::Refuse(Denial::NameTaken));
    }
}

#[test]
fn an_address_that_both_sides_proved_links() {
    assert_eq!(
        Case::verified().decide(),
        Decision::Provision(Proposal::Link(bob(), Agreement::default()))
    );
}

#[test]
fn only_the_boolean_true_counts_as_verified() {
    for lie in [
        json!("true"),
        json!("false"),
        json!(1),
        json!("1"),
        json!([]),
        json!({}),
        json!(null),
        json!(false),
    ] {
        assert_eq!(Case::verified().claim("email_verified", lie).decide(), asked());
    }
}

#[test]
fn a_provider_without_trusted_domains_never_links_by_address() {
    let mut case = Case::verified();
    case.trusted.clear();
    assert_eq!(case.decide(), asked());
}

#[test]
fn an_address_that_we_did_not_verify_never_links() {
    let mut case = Case::verified();
    case.holder().verified_email = None;
    assert!(matches!(case.decide(), Decision::Ask(_)));
    case.holder().verified_email = Some("robert@example.com".to_owned());
    assert!(matches!(case.decide(), Decision::Ask(_)));
}

#[test]
fn an_administrator_is_never_linked_without_a_proof() {
    let mut case = Case::verified();
    case.holder().administrator = true;
    assert!(matches!(case.decide(), Decision::Ask(_)));
    case.proved = Some(bob().id);
    assert!(matches!(case.decide(), Decision::Provision(Proposal::Link(..))));
}

#[test]
fn a_provider_speaks_for_its_own_domains_alone() {
    for address in [
        "bob@other.example",
        "bob@example.com.evil",
        "bob@xexample.com",
        "bob@sub.example.com",
    ] {
        let mut case = Case::verified().claim("email", json!(address));
        assert_eq!(case.decide(), Decision::Refuse(Denial::EmailDomain), "{address}");
        case.linked = Some(bob());
        assert_eq!(case.decide(), Decision::Refuse(Denial::EmailDomain), "{address}");
    }
}

#[test]
fn ambiguous_address_is_refused_where_domains_are_trusted() {
    for address in [
        json!("a@b@example.com"),
        json!("a＠b@example.com"),
        json!("a\r\n@example.com"),
        json!(["a@example.com"]),
        json!(1),
    ] {
        let refused = Case::verified().claim("email", address.clone()).decide();
        assert_eq!(refused, Decision::Refuse(Denial::BadEmail), "{address}");
        // Where no domain is trusted, the claim is left out and decides nothing.
        let admitted = Case::new().claim("email", address.clone()).decide();
        assert!(matches!(admitted, Decision::Provision(_)), "{address}: {admitted:?}");
    }
    let absent = Case::new().claim("email", json!(null)).decide();
    assert!(matches!(absent, Decision::Provision(_)));
}

#[test]
fn codes_are_distinct() {
    let claim = String::new;
    let all = [
        Denial::ProviderNotAllowed,
        Denial::NoAccount,
        Denial::AccountRemoved,
        Denial::ConsentRefused,
        Denial::IdentityLocked { reason: claim() },
        Denial::AccountDisabled,
        Denial::NameTaken,
        Denial::MissingClaim { claim: claim() },
        Denial::BadClaim { claim: claim() },
        Denial::UnknownStore { claim: claim() },
        Denial::BadUsername,
        Denial::BadEmail,
        Denial::EmailDomain,
        Denial::InvalidAttributes,
        Denial::NotUnderWay,
        Denial::UnknownProvider,
        Denial::NoLocalLogin,
        Denial::TooManyAttempts,
        Denial::Declined,
        Denial::ProviderUnavailable,
    ];
    let codes: std::collections::HashSet<_> = all.iter().map(Denial::code).collect();
    assert_eq!(codes.len(), all.len());
}

fn any_json() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!(false)),
        Just(json!("true")),
        Just(json!(1)),
        Just(json!([true])),
    ]
}

prop_compose! {
    fn any_case()(
        conflict_rule in prop_oneof![Just(OnConflict::Ask), Just(OnConflict::LinkVerifiedEmail), Just(OnConflict::Refuse)],
        verified in any_json(),
        email in prop_oneof![Just("bob@example.com"), Just("bob@other.example"), Just("x@example.com"), Just("b@b@example.com")],
        trusted in prop::collection::vec(prop_oneof![Just("example.com".to_owned()), Just("other.example".to_owned())], 0..3),
        ours in prop::option::of(prop_oneof![Just("bob@example.com".to_owned()), Just("bob@other.example".to_owned())]),
        (administrator, active) in any::<(bool, bool)>(),
        proved in prop::option::of(prop_oneof![Just("id-bob"), Just("id-mallory")]),
        mode in prop_oneof![
            Just(JitMode::Silent),
            Just(JitMode::Consent),
            Just(JitMode::PasswordConsent),
            Just(JitMode::UsernamePasswordConsent),
        ],
        answers in prop::option::of(asked::any_answers()),
        another_name in any::<bool>(),
    ) -> Case {
        let mut case = Case::taken().claim("email", json!(email)).claim("email_verified", verified);
        case.policy.on_conflict = conflict_rule;
        case.trusted = trusted;
        case.proved = proved.map(ResourceId::from);
        case.policy.mode = mode;
        case.answers = answers;
        case.wishes.another_name = another_name;
        let holder = case.holder();
        (holder.administrator, holder.active, holder.verified_email) = (administrator, active, ours);
        case
    }
}

proptest! {
    #[test]
    fn a_taken_name_creates_no_account_and_links_only_with_proof(mut case in any_case()) {
        let holder = case.holder().clone();
        match case.decide() {
            Decision::Provision(Proposal::Create { .. } | Proposal::Renew(_)) | Decision::Complete(..) => prop_assert!(false, "overwritten"),
            Decision::Provision(Proposal::Link(account, _)) => {
                prop_assert_eq!(&account, &holder);
                prop_assert!(account.active && case.policy.on_conflict != OnConflict::Refuse);
                let by_proof = case.proved == Some(account.id.clone());
                let by_address = case.policy.on_conflict == OnConflict::LinkVerifiedEmail
                    && case.identity.claims["email_verified"] == json!(true)
                    && account.verified_email.as_deref() == case.identity.claims["email"].as_str()
                    && !case.trusted.is_empty()
                    && !account.administrator;
                prop_assert!(by_proof || by_address);
            }
            Decision::Ask(_) | Decision::Refuse(_) => {}
        }
    }
}
