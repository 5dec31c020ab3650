//! The tables of `migrations/`, for diesel.
#![expect(missing_docs, reason = "the columns are described in the migrations")]

diesel::table! {
    resources (id) {
        id -> Text,
        store -> Text,
        kind -> Text,
        name -> Text,
        key -> Text,
        external_id -> Nullable<Text>,
        active -> Bool,
        created -> BigInt,
        modified -> BigInt,
        version -> BigInt,
        writers -> Text,
        document -> Text,
        indexed_as -> BigInt,
    }
}

diesel::table! {
    index_forms (form) {
        form -> BigInt,
        description -> Text,
        turn -> BigInt,
    }
}

diesel::table! {
    parked_records (target, tx, seq) {
        target -> Text,
        tx -> BigInt,
        seq -> BigInt,
        cause -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    resource_counts (store, kind, stripe) {
        store -> Text,
        kind -> Text,
        stripe -> BigInt,
        amount -> BigInt,
        removed -> BigInt,
    }
}

diesel::table! {
    attribute_values (path, value, resource_id) {
        path -> Text,
        value -> Text,
        resource_id -> Text,
    }
}

diesel::table! {
    unique_values (store, kind, path, value) {
        store -> Text,
        kind -> Text,
        path -> Text,
        value -> Text,
        resource_id -> Text,
    }
}

diesel::table! {
    members (seq) {
        seq -> BigInt,
        group_id -> Text,
        member_id -> Text,
        body -> Text,
        granted_by -> Text,
    }
}

diesel::table! {
    credentials (resource_id) {
        resource_id -> Text,
        hash -> Nullable<Text>,
        changed_at -> BigInt,
        failures -> Integer,
        locked_until -> BigInt,
    }
}

diesel::table! {
    security_events (seq) {
        seq -> BigInt,
        at -> BigInt,
        kind -> Text,
        resource_id -> Nullable<Text>,
        actor -> Nullable<Text>,
        identity_provider -> Nullable<Text>,
        service_provider -> Nullable<Text>,
        reason -> Nullable<Text>,
        object -> Nullable<Text>,
        address -> Nullable<Text>,
        request_id -> Nullable<Text>,
    }
}

diesel::table! {
    journal (seq) {
        seq -> BigInt,
        tx -> BigInt,
        at -> BigInt,
        store -> Text,
        kind -> Text,
        resource_id -> Text,
        version -> BigInt,
        actor -> Text,
        service_provider -> Text,
        action -> Text,
        diff -> Text,
        members -> Nullable<Text>,
    }
}

diesel::table! {
    consents (id) {
        id -> Text,
        store -> Text,
        resource_id -> Text,
        purpose -> Text,
        version -> BigInt,
        granted -> Text,
        refused -> Text,
        identity_provider -> Text,
        service_provider -> Text,
        at -> BigInt,
        withdrawn -> Nullable<BigInt>,
    }
}

diesel::table! {
    factors (resource_id, kind) {
        resource_id -> Text,
        kind -> Text,
        sealed -> Binary,
        last_step -> BigInt,
        failures -> Integer,
        locked_until -> BigInt,
        created -> BigInt,
    }
}

diesel::table! {
    mail_codes (resource_id) {
        resource_id -> Text,
        since -> BigInt,
        sent -> Integer,
        last -> BigInt,
        failures -> Integer,
        locked_until -> BigInt,
        proved -> Nullable<Text>,
    }
}

diesel::table! {
    recovery_codes (resource_id, hash) {
        resource_id -> Text,
        hash -> Text,
    }
}

diesel::table! {
    identity_locks (identity_provider, issuer, subject) {
        identity_provider -> Text,
        issuer -> Text,
        subject -> Text,
        reason -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    group_grants (resource_id, identity_provider, group_id) {
        resource_id -> Text,
        identity_provider -> Text,
        group_id -> Text,
    }
}

diesel::table! {
    approvals (id) {
        id -> Text,
        identity_provider -> Text,
        issuer -> Text,
        subject -> Text,
        service_provider -> Text,
        sealed -> Binary,
        verdict -> Text,
        reason -> Text,
        decided_by -> Text,
        asked -> BigInt,
        decided -> BigInt,
        expires -> BigInt,
    }
}

diesel::table! {
    former_links (identity_provider, issuer, subject) {
        identity_provider -> Text,
        issuer -> Text,
        subject -> Text,
        at -> BigInt,
        resource_id -> Nullable<Text>,
    }
}

diesel::table! {
    former_addresses (resource_id, fingerprint) {
        resource_id -> Text,
        fingerprint -> Text,
    }
}

diesel::table! {
    past_links (resource_id, fingerprint) {
        resource_id -> Text,
        fingerprint -> Text,
    }
}

diesel::table! {
    links (identity_provider, issuer, subject) {
        identity_provider -> Text,
        issuer -> Text,
        subject -> Text,
        store -> Text,
        resource_id -> Text,
        created -> BigInt,
        last_login -> BigInt,
        verified_email -> Nullable<Text>,
    }
}

diesel::table! {
    login_transactions (handle_hash) {
        handle_hash -> Text,
        created -> BigInt,
        expires -> BigInt,
        revision -> BigInt,
        sealed -> Binary,
    }
}

diesel::table! {
    removals (identity_provider) {
        identity_provider -> Text,
        action -> Text,
        started -> BigInt,
        finished -> Nullable<BigInt>,
        at_issuer -> Text,
        at_subject -> Text,
        accounts -> BigInt,
        links -> BigInt,
        lease_until -> BigInt,
    }
}

diesel::table! {
    sessions (id_hash) {
        id_hash -> Text,
        store -> Text,
        resource_id -> Text,
        identity_provider -> Nullable<Text>,
        amr -> Text,
        auth_time -> BigInt,
        created -> BigInt,
        expires -> BigInt,
        credential_version -> BigInt,
        authenticated_at -> Nullable<BigInt>,
        provider_token -> Nullable<Binary>,
    }
}

diesel::table! {
    known_browsers (resource_id, fingerprint) {
        resource_id -> Text,
        fingerprint -> Text,
        failures -> Integer,
        locked_until -> BigInt,
        expires -> BigInt,
    }
}

diesel::table! {
    unknown_password_attempts (bucket) {
        bucket -> BigInt,
        failures -> BigInt,
    }
}

diesel::table! {
    credential_versions (resource_id) {
        resource_id -> Text,
        version -> BigInt,
    }
}

diesel::table! {
    session_clients (session_hash, client_id, sid) {
        session_hash -> Text,
        client_id -> Text,
        sid -> Text,
    }
}

diesel::table! {
    logouts (id) {
        id -> Text,
        client_id -> Text,
        resource_id -> Text,
        sid -> Text,
        created -> BigInt,
        attempts -> Integer,
        next_attempt -> BigInt,
    }
}

diesel::table! {
    grants (id) {
        id -> Text,
        code_hash -> Text,
        code_used -> Nullable<BigInt>,
        code_expires -> BigInt,
        client_id -> Text,
        session_hash -> Text,
        store -> Text,
        resource_id -> Text,
        redirect_uri -> Text,
        scope -> Text,
        nonce -> Nullable<Text>,
        claims -> Text,
        code_challenge -> Nullable<Text>,
        amr -> Text,
        auth_time -> BigInt,
        created -> BigInt,
        expires -> BigInt,
        revoked -> Nullable<BigInt>,
        authenticated_at -> Nullable<BigInt>,
        identity_provider -> Nullable<Text>,
    }
}

diesel::table! {
    access_tokens (token_hash) {
        token_hash -> Text,
        grant_id -> Text,
        scope -> Text,
        expires -> BigInt,
    }
}

diesel::table! {
    refresh_tokens (token_hash) {
        token_hash -> Text,
        grant_id -> Text,
        scope -> Text,
        created -> BigInt,
        expires -> BigInt,
        used -> Nullable<BigInt>,
    }
}

diesel::table! {
    signing_keys (kid) {
        kid -> Text,
        algorithm -> Text,
        sealed -> Binary,
        created -> BigInt,
        signs_from -> BigInt,
        retired -> Nullable<BigInt>,
    }
}

diesel::table! {
    client_assertions (jti_hash) {
        jti_hash -> Text,
        expires -> BigInt,
    }
}

diesel::table! {
    pushed_requests (handle_hash) {
        handle_hash -> Text,
        client_id -> Text,
        parameters -> Text,
        expires -> BigInt,
    }
}

diesel::table! {
    scim_tokens (token_hash) {
        token_hash -> Text,
        id -> Text,
        service_provider -> Text,
        created -> BigInt,
        expires -> BigInt,
        last_used -> Nullable<BigInt>,
        revoked -> Nullable<BigInt>,
        client_id -> Nullable<Text>,
        read_only -> Bool,
    }
}

diesel::table! {
    outbound (target, resource_id) {
        target -> Text,
        resource_id -> Text,
        kind -> Text,
        store -> Text,
        service_provider -> Text,
        state -> Text,
        wanted -> BigInt,
        pushed -> BigInt,
        remote_id -> Nullable<Text>,
        sent -> Nullable<Text>,
        attempts -> Integer,
        next_attempt -> BigInt,
        lease_until -> BigInt,
        owner -> Nullable<Text>,
        changed -> BigInt,
        last_error -> Nullable<Text>,
    }
}

diesel::table! {
    outbound_members (target, group_id, member_id) {
        target -> Text,
        group_id -> Text,
        member_id -> Text,
        wanted -> Bool,
        sent -> Bool,
        remote_id -> Nullable<Text>,
        refusal -> Nullable<Text>,
    }
}

diesel::table! {
    targets (target) {
        target -> Text,
        cursor_tx -> BigInt,
        cursor_seq -> BigInt,
        paused -> Nullable<Text>,
    }
}

diesel::table! {
    dialects (service_provider, rule) {
        service_provider -> Text,
        rule -> Text,
        requests -> BigInt,
        last_seen -> BigInt,
    }
}

diesel::table! {
    ldap_entries (resource_id) {
        resource_id -> Text,
        store -> Text,
        entry -> Text,
        dn -> Text,
        dn_key -> Text,
        stamp -> Text,
    }
}

diesel::table! {
    ldap_baselines (store) {
        store -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    intents (store, subject) {
        store -> Text,
        subject -> Text,
        change -> Text,
        until -> BigInt,
    }
}
diesel::allow_tables_to_appear_in_same_query!(
    resources,
    ldap_entries,
    attribute_values,
    members,
    credentials,
    links,
    outbound,
    outbound_members
);
diesel::allow_tables_to_appear_in_same_query!(grants, access_tokens, refresh_tokens, sessions);
diesel::joinable!(access_tokens -> grants (grant_id));
diesel::joinable!(refresh_tokens -> grants (grant_id));
diesel::allow_tables_to_appear_in_same_query!(identity_locks, group_grants, links);
