//! What people are told, by stable code. Texts come from here alone: nothing that a URL or another server sent is shown.

/// The title and the text for a code: what happened, and what to do next. An unknown code gets a general text.
pub fn message(code: &str) -> (&'static str, &'static str) {
    CATALOGUE
        .iter()
        .find(|(known, ..)| *known == code)
        .map_or(GENERAL, |(_, title, text)| (title, text))
}

const GENERAL: (&str, &str) = (
    "Something went wrong",
    "The sign-in could not be finished. Go back to the application and try again.",
);

const CATALOGUE: &[(&str, &str, &str)] = &[
    // The application's request was wrong.
    (
        "invalid_client",
        "This application is not known here",
        "The application that sent you is not registered, or its registration was removed. Tell the people who run it.",
    ),
    (
        "invalid_redirect_uri",
        "The way back is not registered",
        "The application asked us to send you to an address that is not registered for it, so we stopped here. Tell the people who run it.",
    ),
    (
        "invalid_request",
        "The request is not complete",
        "Something that we need was missing from the request or does not belong in it. Go back to the application and try again; if it happens again, tell the people who run it.",
    ),
    // The login did not go on.
    (
        "expired_login",
        "This sign-in took too long",
        "For your safety a sign-in must be finished within a few minutes, and each step counts once. Go back to the application and start again.",
    ),
    (
        "wrong_browser",
        "This sign-in began in another browser",
        "A sign-in must be finished in the browser where it began, and that browser must accept cookies. Go back to the application and start again here.",
    ),
    (
        "wrong_csrf",
        "This form is out of date",
        "The form was opened too long ago, or in another window. Go back to the application and start again.",
    ),
    (
        "cancelled",
        "The sign-in was cancelled",
        "You are not signed in, and nothing was changed. Go back to the application to try again.",
    ),
    // The account.
    (
        "wrong_password",
        "That did not work",
        "The username or the password is not right. Check both and try again.",
    ),
    (
        "wrong_proof",
        "That is not the password",
        "It does not open this account. Check it and try again, or go back.",
    ),
    (
        "too_many_attempts",
        "Too many attempts",
        "Wait a few minutes, then try again.",
    ),
    (
        "no_account",
        "There is no account for you yet",
        "You signed in, but this application has no account for you, and it does not create one by itself. Ask its administrator to add you.",
    ),
    (
        "account_disabled",
        "Your account is switched off",
        "An administrator has switched this account off. Ask your administrator if you think that is a mistake.",
    ),
    (
        "account_locked",
        "Your account is locked",
        "The account was locked to protect it, for example after many wrong passwords. Try again later, or ask your administrator to unlock it.",
    ),
    (
        "name_taken",
        "That name belongs to another account",
        "An account with your name is here already, and we could not be sure that it is yours. Ask your administrator to link the two.",
    ),
    (
        "email_not_verified",
        "Your e-mail address is not confirmed",
        "The service that you signed in with has not confirmed your e-mail address. Confirm it there, then try again.",
    ),
    (
        "missing_claim",
        "Something about you is missing",
        "The service that you signed in with did not tell us all that this application needs, such as your name or e-mail address. Complete your profile there and allow it to be shared, then try again.",
    ),
    (
        "invalid_name",
        "Your name cannot be used here",
        "The name that came with your sign-in has characters or a length that we cannot accept. Ask your administrator to create your account by hand.",
    ),
    // The identity provider.
    (
        "unknown_provider",
        "That way of signing in is not offered",
        "It may have been switched off, or this application may not use it. Go back to the application and choose another.",
    ),
    (
        "provider_unavailable",
        "The sign-in service does not answer",
        "The service that you chose cannot be reached at the moment. Wait a minute and try again, or sign in another way.",
    ),
    (
        "provider_error",
        "The sign-in service sent an answer that we cannot trust",
        "We could not verify what the service that you chose sent us, so we did not sign you in. Try again; if it happens again, tell your administrator.",
    ),
    (
        "provider_refused",
        "The sign-in service refused",
        "The service that you chose did not sign you in. Try again or sign in another way; if it goes on, ask whoever runs that service.",
    ),
    // Us.
    (
        "access_denied",
        "You may not use this application",
        "You are signed in, but your account has no access to this application. Ask its administrator.",
    ),
    (
        "unavailable",
        "We cannot do this at the moment",
        "Something that we depend on does not answer. Wait a minute, then try again.",
    ),
    (
        "internal",
        "Something went wrong on our side",
        "It is not your fault, and it has been noted. Try again in a moment; if it happens again, tell your administrator.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_refusal_has_its_own_message() {
        for code in [
            "invalid_client",
            "invalid_redirect_uri",
            "invalid_request",
            "expired_login",
            "cancelled",
            "no_account",
            "account_disabled",
            "account_locked",
            "name_taken",
            "email_not_verified",
            "missing_claim",
            "invalid_name",
            "provider_unavailable",
            "provider_error",
            "provider_refused",
            "wrong_browser",
            "unknown_provider",
            "internal",
        ] {
            assert_ne!(message(code), GENERAL, "{code}");
        }
    }

    #[test]
    fn an_unknown_code_gets_the_general_message() {
        assert_eq!(message("<svg onload=alert(1)>"), GENERAL);
        assert_eq!(message(""), GENERAL);
    }

    #[test]
    fn no_code_or_title_is_there_twice() {
        let codes: HashSet<_> = CATALOGUE.iter().map(|(code, ..)| code).collect();
        let titles: HashSet<_> = CATALOGUE.iter().map(|(_, title, _)| title).collect();
        assert_eq!((codes.len(), titles.len()), (CATALOGUE.len(), CATALOGUE.len()));
    }

    #[test]
    fn every_message_is_made_of_whole_sentences() {
        for (code, title, text) in CATALOGUE {
            assert!(
                title.chars().next().is_some_and(char::is_uppercase) && title.len() < 60,
                "{code}"
            );
            assert!(text.ends_with('.') && text.len() > 30, "{code}");
        }
    }
}
