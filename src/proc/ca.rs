//! The process that holds the long-term secrets, and answers questions about them.
//!
//! No question gives a secret away: what comes back is a value computed with it, or a judgement. The
//! secrets come from the reader ([`super::reader`]). Until they are there no question is answered: those
//! of `ike` wait on their link.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mio::Token;
use zeroize::Zeroizing;

use super::Role;
use super::child::{Child, Fault, Part, batch, claimed};
use super::imsg::{self, Link};
use super::message::{AskCa, CaTells, Down, Up};
use super::reader::Handed;
use crate::conf::{PolicyName, counted};
use crate::crypto::prf::Hash;
use crate::crypto::{Secret, psk_auth, psk_skeyid, psk_verify, same};
use crate::ike::auth::{Answer, Question, Trust};
use crate::pki::files::KeyFile;
use crate::pki::{self, Keyring};

const IKE: Token = Token(1);
const READER: Token = Token(2);
const SHARED: Token = Token(3);

/// How many authorities one message names.
const AUTHORITIES: usize = 64;

/// How often it is looked whether something expires.
const LOOK: Duration = Duration::from_secs(3600);

/// The secrets in use, and those that are being handed over.
#[derive(Default)]
pub struct Ca {
    /// Which worker this is: the first tells the operator what all see.
    number: u8,
    keys: BTreeMap<PolicyName, Secret>,
    users: BTreeMap<String, Secret>,
    /// `None` until the first secrets are here.
    ring: Option<Keyring>,
    /// What opens files, as long as this process lives: nobody is asked again.
    passphrases: BTreeMap<String, Secret>,
    /// Another worker gives its own. They are needed before anything is opened.
    shared: Option<Link<(), Handed>>,
    coming: Option<Coming>,
    ike: Option<Link<CaTells, AskCa>>,
    look_at: Option<Instant>,
}

/// Secrets on their way.
struct Coming {
    link: Link<(), Handed>,
    options: pki::Options,
    keys: BTreeMap<PolicyName, Secret>,
    users: BTreeMap<String, Secret>,
    files: Vec<(String, Zeroizing<Vec<u8>>)>,
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
                self.tell_trust(child)?;
            }
            Down::Secrets => {
                if let Some(old) = self.coming.take() {
                    child.events.forget(&old.link);
                }
                let link = Link::new(claimed(descriptor, "a way for secrets")?)?;
                child.events.watch(&link, READER)?;
                let (options, keys) = (pki::Options::default(), BTreeMap::new());
                let (users, files) = (BTreeMap::new(), Vec::new());
                self.coming = Some(Coming { link, options, keys, users, files });
            }
            Down::Share => {
                let mut link: Link<Handed, ()> = Link::new(claimed(descriptor, "a way")?)?;
                for (file, words) in &self.passphrases {
                    let (file, words) = (file.clone(), words.clone());
                    // Whoever is gone by now needs none.
                    let _ = link.send(&Handed::Passphrase { file, words });
                }
            }
            Down::Shared => {
                let link = Link::new(claimed(descriptor, "a way")?)?;
                child.events.watch(&link, SHARED)?;
                self.shared = Some(link);
            }
            other => return Err(Fault::Unexpected(format!("ca {other:?}"))),
        }
        Ok(())
    }

    fn ready(&mut self, child: &mut Child, token: Token) -> Result<(), Fault> {
        match token {
            IKE => self.questions(child),
            SHARED => {
                self.passphrases(child);
                Ok(())
            }
            _ => self.secrets(child),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.look_at.filter(|_| self.number == 0)
    }

    fn turn(&mut self, child: &mut Child) -> Result<(), Fault> {
        let now = child.events.woke();
        if self.number == 0 && self.look_at.is_some_and(|at| now >= at) {
            self.look_at = Some(now + LOOK);
            for remark in self.ring.iter().flat_map(Keyring::expiring) {
                child.log.notice(remark);
            }
        }
        Ok(())
    }
}

impl Ca {
    /// A worker of this number.
    pub fn new(number: u8) -> Self {
        Self { number, ..Self::default() }
    }

    /// Answers what is asked, once there is something to answer with.
    fn questions(&mut self, child: &mut Child) -> Result<(), Fault> {
        let Some(ring) = &self.ring else { return Ok(()) };
        let Some(link) = &mut self.ike else { return Ok(()) };
        let (questions, mut end) = batch(link, &mut child.events, IKE);
        for ((id, question), _) in questions {
            let users = || user(&self.users, &question);
            let answer = users().unwrap_or_else(|| answer(&self.keys, ring, &question));
            if end.is_ok() {
                end = link.send(&CaTells::Answer(id, answer));
            }
        }
        if let Err(error) = end {
            child.events.forget(link);
            self.ike = None;
            child.lost(Role::Ike, &error)?;
        }
        Ok(())
    }

    /// Takes passphrases from another worker.
    fn passphrases(&mut self, child: &mut Child) {
        let Some(link) = &mut self.shared else { return };
        let (handed, end) = batch(link, &mut child.events, SHARED);
        for (message, _) in handed {
            if let Handed::Passphrase { file, words } = message {
                self.passphrases.insert(file, words);
            }
        }
        if end.is_err() {
            child.events.forget(link);
            self.shared = None;
            child.events.again(READER);
        }
    }

    /// Takes secrets from the reader.
    fn secrets(&mut self, child: &mut Child) -> Result<(), Fault> {
        if self.shared.is_some() {
            return Ok(());
        }
        let Some(coming) = &mut self.coming else { return Ok(()) };
        let (handed, end) = batch(&mut coming.link, &mut child.events, READER);
        for (message, _) in handed {
            match message {
                Handed::Options(options) => coming.options = options,
                Handed::Psk(secret) => drop(coming.keys.insert(secret.policy, secret.psk)),
                Handed::User(user) => drop(coming.users.insert(user.name, user.password)),
                Handed::Passphrase { file, words } => drop(self.passphrases.insert(file, words)),
                Handed::File(KeyFile { name, octets }) => match coming.files.last_mut() {
                    Some((last, so_far)) if *last == name => so_far.extend(octets.octets()),
                    _ => coming.files.push((name, Zeroizing::new(octets.octets().to_vec()))),
                },
                Handed::End => return self.take(child),
            }
        }
        let Err(error) = end else { return Ok(()) };
        child.events.forget(&coming.link);
        self.coming = None;
        let why = match error {
            imsg::Error::Closed => "the reader ended before it was done".into(),
            error => error.to_string(),
        };
        child.parent.send(&Up::SecretsFailed(why)).map_err(Fault::Parent)
    }

    /// All of it is here: it takes the place of what was.
    fn take(&mut self, child: &mut Child) -> Result<(), Fault> {
        let Some(coming) = self.coming.take() else { return Ok(()) };
        child.events.forget(&coming.link);
        let files: Vec<KeyFile> = coming
            .files
            .into_iter()
            .map(|(name, octets)| KeyFile { name, octets: Secret::from(octets.as_slice()) })
            .collect();
        let ring = Keyring::load(&files, &self.passphrases, coming.options);
        let ring = ring.map_err(|error| Fault::Io(std::io::Error::other(error)))?;
        for remark in ring.remarks().iter().filter(|_| self.number == 0) {
            child.log.notice(format!("{}: {}", remark.file, remark.text));
        }
        self.keys = coming.keys;
        self.users = coming.users;
        let keys = counted(self.keys.len(), "pre-shared key", "pre-shared keys");
        child.log.debug(format!("{keys} in use, {}", ring.summary()));
        self.ring = Some(ring);
        self.look_at = Some(Instant::now());
        self.tell_trust(child)?;
        child.parent.send(&Up::SecretsHeld).map_err(Fault::Parent)?;
        // Questions may have waited for it.
        if self.ike.is_some() {
            child.events.again(IKE);
        }
        Ok(())
    }

    /// Tells `ike` whom we trust, and what is here for people to look at.
    fn tell_trust(&mut self, child: &mut Child) -> Result<(), Fault> {
        let (Some(ring), Some(link)) = (&self.ring, &mut self.ike) else { return Ok(()) };
        let Trust { authorities, raw_keys, ocsp } = ring.trust();
        let parts = authorities.chunks(AUTHORITIES).map(|some| CaTells::Authorities(some.to_vec()));
        let views = ring.view().into_iter().map(|view| CaTells::Cert(Box::new(view)));
        let messages = parts.chain(views).chain([CaTells::Known { raw_keys, ocsp }]);
        let mut end = link.send(&CaTells::Begin);
        for message in messages {
            end = end.and_then(|()| link.send(&message));
        }
        if let Err(error) = end {
            child.events.forget(link);
            self.ike = None;
            child.lost(Role::Ike, &error)?;
        }
        Ok(())
    }
}

/// The answer to a question.
pub fn answer(keys: &BTreeMap<PolicyName, Secret>, ring: &Keyring, question: &Question) -> Answer {
    ring.answer(question).unwrap_or_else(|| shared_key(keys, question))
}

/// The answer to a question about a user; `None` if it is about something else. Whoever is not known
/// costs as much as whoever is.
pub fn user(users: &BTreeMap<String, Secret>, question: &Question) -> Option<Answer> {
    match question {
        Question::Login { user, password } => {
            let known = users.get(user);
            // Their digests are compared: so the length of a password makes no difference either.
            let digest = |octets: &[u8]| Hash::Sha256.digest(&[octets]).0;
            let wanted = digest(known.map_or(&[][..], Secret::octets));
            let right = same(&wanted, &digest(password.octets()));
            Some(if right && known.is_some() { Answer::Verified } else { Answer::Wrong })
        }
        Question::Password { user } => Some(match users.get(user) {
            Some(password) => Answer::Password(password.clone()),
            None => Answer::Refused(format!("there is no line `user \"{user}\" \"PASSWORD\"`")),
        }),
        _ => None,
    }
}

/// The answer to a question about a pre-shared key.
fn shared_key(keys: &BTreeMap<PolicyName, Secret>, question: &Question) -> Answer {
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
        let Answer::Signed(auth) = shared_key(&table(), &sign) else { panic!("not signed") };
        let verify = |auth: Vec<u8>| {
            let (policy, octets) = (policy.clone(), octets.clone());
            shared_key(&table(), &Question::SharedKeyVerify { policy, prf, octets, auth })
        };
        assert_eq!(verify(auth.clone()), Answer::Verified);
        let mut wrong = auth.clone();
        wrong[0] ^= 1;
        assert_eq!(verify(wrong), Answer::Wrong);
        assert_eq!(verify(auth[..8].to_vec()), Answer::Wrong);
    }

    #[test]
    fn users_log_in_with_their_own_password() {
        let users = BTreeMap::from([("alice".to_owned(), Secret::from(&b"hers"[..]))]);
        let login = |name: &str, password: &[u8]| {
            let (name, password) = (name.to_owned(), Secret::from(password));
            user(&users, &Question::Login { user: name, password })
        };
        assert_eq!(login("alice", b"hers"), Some(Answer::Verified));
        assert_eq!(login("alice", b"his"), Some(Answer::Wrong));
        assert_eq!(login("alice", b""), Some(Answer::Wrong));
        assert_eq!(login("bob", b""), Some(Answer::Wrong), "an unknown user has no empty password");
        let asked = |name: &str| user(&users, &Question::Password { user: name.into() });
        assert_eq!(asked("alice"), Some(Answer::Password(Secret::from(&b"hers"[..]))));
        assert!(matches!(asked("bob"), Some(Answer::Refused(why)) if why.contains("bob")));
        let other = Question::Skeyid {
            policy: PolicyName("home".into()),
            prf: PrfId::PRF_HMAC_SHA1,
            nonces: Vec::new(),
        };
        assert_eq!(user(&users, &other), None);
    }

    #[test]
    fn a_policy_without_key_is_refused_by_name() {
        let policy = PolicyName("away".into());
        let question =
            Question::SharedKeySign { policy, prf: PrfId::PRF_HMAC_SHA2_256, octets: vec![] };
        let Answer::Refused(why) = shared_key(&table(), &question) else { panic!("not refused") };
        assert!(why.contains("away"), "{why}");
    }
}
