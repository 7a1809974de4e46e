//! The field's past vulnerabilities, a case each.
//!
//! | what happened | where | the case |
//! |---|---|---|
//! | CVE-2014-2338: a half-open IKE SA let itself be rekeyed, past authentication | strongSwan | [`v2::nothing_is_rekeyed_before_it_is_authenticated`] |
//! | CVE-2014-9221: a key exchange payload of group 1025 crashed | strongSwan | [`v2::a_group_nobody_offered_is_refused`] |
//! | CVE-2023-23009: a traffic selector with a wrong length crashed | libreswan | [`v2::a_selector_that_lies_about_its_length_is_refused`] |
//! | CVE-2023-38710: rekeying with protocol 0 or 1 and no SPI ran into an assertion | libreswan | [`v2::rekeying_by_a_wrong_protocol_is_refused`] |
//! | CVE-2016-5361: a responder sent its first answer again and again, unasked | libreswan | [`v2::answers_to_strangers_do_not_amplify`] |
//! | a word that nothing protects ended IKE SAs (INVALID_SPI, INVALID_IKE_SPI) | the protocol | [`v2::what_nothing_protects_makes_us_ask_and_ends_nothing`], [`v2::hints_from_elsewhere_or_about_nothing_are_passed_over`] |
//! | messages for no IKE SA were answered without bounds | the protocol | [`v2::a_flood_of_messages_for_no_ike_sa_is_answered_a_little`], [`v2::a_flood_of_another_major_version_is_answered_a_little`] |
//! | CVE-2018-0131, CVE-2017-17305, CVE-2018-8753, CVE-2018-9129: the answer to public key encryption told whether a ciphertext was well formed (Bleichenbacher) | Cisco IOS, Huawei, Clavister, ZyXEL | [`v1::a_ciphertext_that_is_none_is_answered_like_any_other`], [`v1::what_was_encrypted_for_us_is_read_the_same_whether_it_was_or_not`], [`v1_encryption::nothing_that_comes_back_tells_which_ciphertext_was_well_formed`] |
//! | CVE-2018-5389: a hash to guess a weak pre-shared key from, shown by Aggressive Mode | the protocol | [`v1::aggressive_mode_with_a_shared_key_is_warned_about`] |
//! | CVE-2016-10396: fragments out of order took ever more time and memory | racoon | [`v1::fragments_without_end_are_bounded`] |
//! | CVE-2004-0221: a delete payload that lies about its contents read past the end | isakmpd | [`v1::a_payload_of_no_length_ends_the_message`] |
//! | CVE-2014-2891, CVE-2013-5018: an identity or a name without octets crashed | strongSwan | [`v1::an_identity_of_nothing_is_an_identity_of_nothing`] |
//! | CVE-2004-0164: deletions that nobody had authenticated were obeyed | racoon | [`v1::a_wrong_next_payload_after_decryption_counts_for_nothing`] |
//! | VU#419128: IKEv1 responders repeated a large answer to a forged source | many | [`v1_engine::answers_of_phase_1_are_not_repeated_unasked`] |
//! | openings of Aggressive Mode cost the responder a key exchange each | many | [`v1_engine::floods_of_aggressive_mode_cost_little`] |
//! | half-open IKEv1 SAs filled the memory | many | [`v1_engine::openings_of_main_mode_are_bounded`] |
//! | Aggressive Mode shows a hash to guess the pre-shared key from | many | [`v1_engine::aggressive_mode_is_answered_only_where_it_is_configured`] |
//! | passwords of XAUTH were guessed in one SA after the other | many | [`v1_engine::passwords_are_not_guessed_by_opening_one_sa_after_the_other`] |
//! | a message of phase 2 that came again, or back to its sender, moved the peer behind a NAT | many | [`v1_engine::a_message_that_comes_again_or_back_moves_nobody`] |
//! | messages of an old Quick Mode were taken again | many | [`v1_engine::replays_make_nothing`] |

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../util/certs.rs"]
mod certs;
#[path = "../util/insider.rs"]
mod insider;
#[path = "../util/pair.rs"]
mod pair;
mod v1;
mod v1_encryption;
mod v1_engine;
mod v2;
