//! The process that holds the long-term secrets, and answers questions about them.
//!
//! No question gives a secret away: what comes back is a value computed with it, or a judgement.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use mio::Token;

use super::Role;
use super::child::{Child, Fault, Part, batch, claimed};
use super::imsg::Link;
use super::message::{AskCa, CaTells, Down, Up};
use crate::conf::PolicyName;
use crate::crypto::{Secret, psk_auth, psk_skeyid, psk_verify};
use crate::ike::auth::{Answer, Question};

const IKE: Token = Token(1);

/// The secrets in use, and those that are being handed over.
#[derive(Default)]
pub struct Ca {
    keys: BTreeMap<PolicyName, Secret>,
    coming: Option<BTreeMap<PolicyName, Secret>>,
    ike: Option<Link<CaTells, AskCa>>,
}

impl Part for Ca {
    fn down(
        &mut self,
        child: &mut Child,
        message: Down,
        descriptor: Option<OwnedFd>,
    ) -> Result<(), Fault> {
        match message {
            Down::Peer(Role::Ike) => {
                if let Some(old) = self.ike.take() {
                    child.events.forget(&old);
                }
                let link = Link::new(claimed(descriptor, "a link")?)?;
                child.events.watch(&link, IKE)?;
                self.ike = Some(link);
            }
            Down::SecretsBegin => self.coming = Some(BTreeMap::new()),
            Down::Secret(secret) => {
                let table = self.coming.get_or_insert_default();
                table.insert(secret.policy, secret.psk);
            }
            Down::SecretsEnd => {
                self.keys = self.coming.take().unwrap_or_default();
                child.log.debug(format!("{} pre-shared keys in use", self.keys.len()));
                child.parent.send(&Up::SecretsHeld).map_err(Fault::Parent)?;
            }
            other => return Err(Fault::Unexpected(format!("ca {other:?}"))),
        }
        Ok(())
    }

    fn ready(&mut self, child: &mut Child, token: Token) -> Result<(), Fault> {
        let Some(link) = self.ike.as_mut().filter(|_| token == IKE) else { return Ok(()) };
        let (questions, mut end) = batch(link, &mut child.events, IKE);
        for ((id, question), _) in questions {
            let answer = answer(&self.keys, &question);
            if end.is_ok() {
                end = link.send(&(id, answer));
            }
        }
        if let Err(error) = end {
            child.events.forget(link);
            self.ike = None;
            child.lost(Role::Ike, &error)?;
        }
        Ok(())
    }
}

/// The answer to a question, from a table of pre-shared keys.
pub fn answer(keys: &BTreeMap<PolicyName, Secret>, question: &Question) -> Answer {
    let (Question::SharedKeySign { policy, .. }
    | Question::SharedKeyVerify { policy, .. }
    | Question::Skeyid { policy, .. }) = question
    else {
        return Answer::Refused("there is no private key to answer with".into());
    };
    let Some(psk) = keys.get(policy) else {
        return Answer::Refused(format!("policy {} has no pre-shared key", policy.0));
    };
    let answered = match question {
        Question::SharedKeySign { prf, octets, .. } => {
            psk_auth(*prf, psk, octets).map(Answer::Signed)
        }
        Question::SharedKeyVerify { prf, octets, auth, .. } => psk_verify(*prf, psk, octets, auth)
            .map(|right| match right {
                true => Answer::Verified,
                false => Answer::Wrong,
            }),
        Question::Skeyid { prf, nonces, .. } => psk_skeyid(*prf, psk, nonces).map(Answer::Skeyid),
        _ => return Answer::Refused("another question".into()),
    };
    answered.unwrap_or_else(|error| Answer::Refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::iana::v2::PrfId;

    fn table() -> BTreeMap<PolicyName, Secret> {
        BTreeMap::from([(PolicyName("home".into()), Secret::from(&b"a shared key"[..]))])
    }

    #[test]
    fn what_is_signed_verifies_and_nothing_else_does() {
        let policy = PolicyName("home".into());
        let (prf, octets) = (PrfId::PRF_HMAC_SHA2_256, b"octets".to_vec());
        let sign = Question::SharedKeySign { policy: policy.clone(), prf, octets: octets.clone() };
        let Answer::Signed(auth) = answer(&table(), &sign) else { panic!("not signed") };
        let verify = |auth: Vec<u8>| {
            let (policy, octets) = (policy.clone(), octets.clone());
            answer(&table(), &Question::SharedKeyVerify { policy, prf, octets, auth })
        };
        assert_eq!(verify(auth.clone()), Answer::Verified);
        let mut wrong = auth.clone();
        wrong[0] ^= 1;
        assert_eq!(verify(wrong), Answer::Wrong);
        assert_eq!(verify(auth[..8].to_vec()), Answer::Wrong);
    }

    #[test]
    fn a_policy_without_key_is_refused_by_name() {
        let policy = PolicyName("away".into());
        let question =
            Question::SharedKeySign { policy, prf: PrfId::PRF_HMAC_SHA2_256, octets: vec![] };
        let Answer::Refused(why) = answer(&table(), &question) else { panic!("not refused") };
        assert!(why.contains("away"), "{why}");
    }
}
