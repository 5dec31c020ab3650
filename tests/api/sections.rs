//! The standards section by section: what is implemented, and the tests that prove it.

/// A section of RFC 7643, RFC 7644 or RFC 9865.
pub(crate) struct Section {
    /// For example `7644 §3.5.2`.
    pub(crate) place: &'static str,
    pub(crate) about: &'static str,
    /// The part that is implemented.
    pub(crate) here: &'static str,
    pub(crate) tests: &'static [&'static str],
}

const fn section(
    place: &'static str,
    about: &'static str,
    here: &'static str,
    tests: &'static [&'static str],
) -> Section {
    Section {
        place,
        about,
        here,
        tests,
    }
}

pub(crate) const SECTIONS: &[Section] = &[
    section(
        "7643 §2.1",
        "names of attributes",
        "compared without case",
        &["r1_names_get_canonical_case_and_the_last_spelling_wins"],
    ),
    section(
        "7643 §2.2",
        "characteristics of attributes",
        "all, of attributes and their parts",
        &[
            "builtin_characteristics_match_the_rfc_and_its_errata",
            "values_are_returned_when_their_schema_says",
            "an_immutable_value_may_be_repeated_and_may_not_differ",
        ],
    ),
    section(
        "7643 §2.3",
        "data types",
        "all; formats such as those of addresses and languages are not checked",
        &[
            "every_value_has_the_type_that_its_schema_says",
            "text_compares_as_the_schema_says",
            "dates_compare_as_instants",
        ],
    ),
    section(
        "7643 §2.4",
        "multi-valued attributes",
        "no duplicate elements, at most one primary; suggested types are not enforced",
        &[
            "r9_equal_elements_are_kept_once_and_members_by_their_value",
            "a_new_primary_takes_it_from_the_old_one",
        ],
    ),
    section(
        "7643 §2.5",
        "unassigned values",
        "null and an empty list unassign",
        &[
            "r3_null_and_empty_lists_unassign_but_empty_text_does_not",
            "empty_text_or_null_clears_any_attribute",
        ],
    ),
    section(
        "7643 §3",
        "resources and their common attributes",
        "the server sets `id` and `meta`, the client `externalId`; `schemas` lists what is present",
        &[
            "a_new_user_gets_201_with_location_etag_and_meta",
            "schemas_follow_from_what_is_present",
            "s01_external_id_never_becomes_or_selects_an_id",
        ],
    ),
    section(
        "7643 §3.3",
        "extensions",
        "any number, required or not",
        &[
            "a_further_file_adds_an_extension_to_a_builtin_type",
            "an_extension_is_reached_by_its_urn",
        ],
    ),
    section(
        "7643 §4.1",
        "User",
        "all attributes; `groups` is read-only and follows the memberships; a password is never returned",
        &[
            "created_resource_is_read_back_unchanged",
            "a_password_is_taken_and_never_shown",
            "groups_of_a_user_change_through_groups_alone",
        ],
    ),
    section(
        "7643 §4.2",
        "Group",
        "members may be groups, and need not exist here; `displayName` is unique",
        &[
            "a_group_shows_its_members_and_each_member_its_group",
            "a_group_needs_a_name_that_no_other_has",
            "unknown_member_is_kept_along_with_the_others",
        ],
    ),
    section(
        "7643 §4.3",
        "enterprise extension",
        "all attributes",
        &[
            "created_resource_is_read_back_unchanged",
            "r11_a_manager_may_be_a_text_a_list_or_empty",
        ],
    ),
    section(
        "7643 §5",
        "service provider configuration",
        "lists exactly the supported features",
        &[
            "service_provider_config_lists_the_supported_features",
            "discovery_needs_no_token",
        ],
    ),
    section(
        "7643 §6",
        "resource types",
        "built-in and custom",
        &[
            "a_further_file_may_bring_a_resource_type_of_its_own",
            "a_resource_type_names_its_schema_and_extensions",
        ],
    ),
    section(
        "7643 §7, §8",
        "schemas",
        "built-in and custom, with every characteristic",
        &[
            "a_schema_shows_every_characteristic_except_indexed",
            "each_listed_schema_and_type_can_be_read_by_itself",
        ],
    ),
    section(
        "7644 §2",
        "authentication",
        "bearer tokens, each bound to a service provider",
        &[
            "every_verb_without_a_token_is_401_with_www_authenticate",
            "a_revoked_token_is_dead_within_a_second",
            "other_stores_are_invisible_to_a_client",
        ],
    ),
    section(
        "7644 §3.1, §3.2",
        "media type, endpoints and methods",
        "`application/scim+json`, or plain JSON if that alone is accepted; 405 names the methods",
        &[
            "a_client_may_ask_for_plain_json",
            "a_body_of_another_media_type_is_415",
            "an_unknown_method_is_405_with_the_methods_that_are_known",
            "an_unknown_place_is_404",
        ],
    ),
    section(
        "7644 §3.3",
        "creating",
        "201 with the whole resource; a taken name is 409",
        &[
            "a_new_user_gets_201_with_location_etag_and_meta",
            "taken_username_in_any_spelling_gets_409_uniqueness",
            "an_id_that_the_client_sends_is_ignored",
        ],
    ),
    section(
        "7644 §3.4.1",
        "reading one",
        "also by HEAD",
        &[
            "created_resource_is_read_back_unchanged",
            "a_head_is_a_get_without_its_body",
        ],
    ),
    section(
        "7644 §3.4.2",
        "querying",
        "at each type, and at the root over all types",
        &[
            "a_query_at_the_root_is_over_all_types",
            "a_list_tells_how_many_there_are_in_all",
            "no_match_is_an_empty_list",
        ],
    ),
    section(
        "7644 §3.4.2.2",
        "filtering",
        "the whole grammar; an unknown attribute matches nothing",
        &[
            "strict_filters_need_no_tolerance",
            "brackets_bind_to_one_element_and_dots_do_not",
            "agree",
            "invalid_filter_is_an_error_and_not_an_empty_list",
        ],
    ),
    section(
        "7644 §3.4.2.3",
        "sorting",
        "by any attribute",
        &["a_list_is_sorted_either_way", "order_holds_within_each_type"],
    ),
    section(
        "7644 §3.4.2.4",
        "paging by index",
        "100 on a page, 1000 at most",
        &[
            "pages_meet_without_gap_or_overlap",
            "pages_are_clamped_to_valid_bounds",
            "no_count_asks_for_the_total_alone",
        ],
    ),
    section(
        "7644 §3.4.3",
        "querying by POST",
        "`/.search`, `/Users/.search` and likewise for each type",
        &[
            "a_search_at_the_root_pages_over_every_type",
            "a_search_at_a_type_finds_only_that_type",
        ],
    ),
    section(
        "7644 §3.5.1",
        "replacing",
        "omitted attributes are cleared, except those that clients cannot read or write",
        &[
            "a_replaced_user_loses_what_is_not_there_and_keeps_its_id",
            "put_removes_what_is_left_out_unless_it_is_protected",
        ],
    ),
    section(
        "7644 §3.5.2",
        "modifying by PATCH",
        "atomic; 200 with the resource, 204 for a large group",
        &[
            "a_patch_happens_as_a_whole_or_not_at_all",
            "a_patch_of_a_large_group_answers_without_it",
            "a_patched_resource_is_valid_or_refused",
        ],
    ),
    section(
        "7644 §3.5.2.1",
        "PATCH add",
        "appends, sets or merges; existing values are not duplicated",
        &[
            "an_attribute_is_added_replaced_and_removed",
            "adding_again_is_adding_once",
            "elements_are_appended_once_and_a_new_primary_takes_over",
        ],
    ),
    section(
        "7644 §3.5.2.2",
        "PATCH remove",
        "attributes, sub-attributes and elements; not required or read-only ones",
        &[
            "removal_by_filter_or_list_removes_only_those_elements",
            "required_attribute_cannot_be_removed_by_any_path",
            "a_remove_without_a_path_has_no_target",
        ],
    ),
    section(
        "7644 §3.5.2.3",
        "PATCH replace",
        "also of elements that a value path chooses",
        &[
            "a_filtered_path_changes_the_elements_it_chooses",
            "a_replaced_list_holds_the_new_elements_only",
            "a_complex_value_is_merged_and_null_unsets_a_part",
        ],
    ),
    section(
        "7644 §3.6",
        "deleting",
        "204, then 404; a deleted user is removed from all groups",
        &[
            "a_deleted_user_is_gone_and_its_name_is_free",
            "a_deleted_user_leaves_its_groups",
        ],
    ),
    section(
        "7644 §3.7",
        "bulk",
        "forward and circular references, also in paths and operations; `failOnErrors`; versions as preconditions",
        &[
            "each_method_is_carried_out_in_the_order_of_the_client",
            "circular_bulk_references_are_resolved",
            "it_stops_after_as_many_errors_as_the_client_allows",
            "the_limits_are_announced_and_kept",
        ],
    ),
    section(
        "7644 §3.8",
        "formats",
        "JSON in UTF-8, also after a byte order mark",
        &[
            "a_body_that_is_no_json_is_an_invalid_syntax",
            "a_body_may_begin_with_a_byte_order_mark",
        ],
    ),
    section(
        "7644 §3.9",
        "`attributes`, `excludedAttributes`",
        "on every answer with resources; `attributes` wins",
        &[
            "attributes_shows_what_is_named_and_what_is_always_returned",
            "excluded_attributes_are_left_out_but_never_id_and_schemas",
        ],
    ),
    section(
        "7644 §3.10",
        "attribute notation",
        "with or without URN, in any case",
        &[
            "attributes_resolve_in_any_case_to_their_canonical_path",
            "a_path_of_three_levels_is_understood",
        ],
    ),
    section(
        "7644 §3.11",
        "`/Me`",
        "users read their own resource with an access token of the OpenID provider; a client's token gets 404",
        &[
            "a_person_sees_who_it_is_at_its_own_location",
            "client_token_has_no_me_resource",
        ],
    ),
    section(
        "7644 §3.12",
        "errors",
        "SCIM errors with `scimType`; they never repeat values",
        &[
            "an_error_body_has_its_status_as_a_text_and_its_scim_type",
            "a_value_of_the_wrong_type_is_named_and_not_repeated",
        ],
    ),
    section(
        "7644 §3.13",
        "versions of the protocol",
        "v2, with `/v2` in the path or without",
        &["another_version_of_scim_is_told_which_one_is_spoken"],
    ),
    section(
        "7644 §3.14",
        "versions of resources",
        "weak ETags, `If-Match`, `If-None-Match`",
        &[
            "a_change_of_an_old_version_is_412_and_changes_nothing",
            "unchanged_resource_is_304_not_modified",
        ],
    ),
    section(
        "7644 §4",
        "discovery",
        "needs no token; a filter is 403",
        &[
            "discovery_takes_no_filter_and_no_change",
            "each_listed_schema_and_type_can_be_read_by_itself",
        ],
    ),
    section(
        "7644 §7.5",
        "personal data in queries",
        "a password cannot be part of a filter; `.search` keeps filters out of URLs and logs",
        &["a_secret_cannot_be_probed", "s21_queries_are_not_logged"],
    ),
    section(
        "9865 §2",
        "paging by cursor",
        "forward and back, stable across changes",
        &[
            "cursors_lead_through_every_order_and_back",
            "cursor_is_stable_across_creates_and_deletes",
            "a_cursor_expires",
            "a_cursor_is_good_for_its_own_search_alone",
        ],
    ),
    section(
        "9865 §4",
        "how paging is announced",
        "both methods, index by default",
        &["both_ways_of_paging_are_announced"],
    ),
];
