//! What the language has and the daemon cannot do: refused by name and place, or warned of where it
//! does no harm. A line here goes when the daemon learns it.

use super::{Checker, Place, Problem};
use crate::conf::syntax::{AuthClause, Ikev2Rule};

impl Checker<'_> {
    /// Clauses of a rule that cannot be honoured.
    pub(super) fn is_able(&mut self, rule: &Ikev2Rule) {
        self.auth_is_able(rule);
    }

    fn auth_is_able(&mut self, rule: &Ikev2Rule) {
        let Some(clause) = &rule.auth else { return };
        if let AuthClause::Eap(method) = &clause.value {
            let sentence = format!("\"eap {}\" is not available: write psk", method.word());
            self.error(clause.place, Problem::says(sentence));
        }
    }

    /// `set` lines that mean less than elsewhere.
    pub(super) fn set_is_able(&mut self, word: &str, place: Place) {
        if word == "ocsp" {
            let sentence = "no responder is connected to: peers are asked to send an OCSP answer along; \
                            of one that sends none the revocation lists tell";
            self.warn(place, sentence);
        }
    }
}
