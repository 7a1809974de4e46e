//! The field's past vulnerabilities, a case each.
//!
//! | what happened | where | the case |
//! |---|---|---|
//! | CVE-2014-2338: a half-open IKE SA let itself be rekeyed, past authentication | strongSwan | [`v2::nothing_is_rekeyed_before_it_is_authenticated`] |
//! | CVE-2014-9221: a key exchange payload of group 1025 crashed | strongSwan | [`v2::a_group_nobody_offered_is_refused`] |
//! | CVE-2023-23009: a traffic selector with a wrong length crashed | libreswan | [`v2::a_selector_that_lies_about_its_length_is_refused`] |
//! | CVE-2023-38710: rekeying with protocol 0 or 1 and no SPI ran into an assertion | libreswan | [`v2::rekeying_by_a_wrong_protocol_is_refused`] |
//! | CVE-2016-5361: a responder sent its first answer again and again, unasked | libreswan | [`v2::answers_to_strangers_do_not_amplify`] |

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../util/insider.rs"]
mod insider;
#[path = "../util/pair.rs"]
mod pair;
mod v2;
