//! Which payloads each message has: a table, and what came sorted by it (RFC 2409 §5).

use crate::wire::iana::v1::{NotifyType, PayloadType};
use crate::wire::v1::{
    Attributes, Cert, CertReq, Delete, Fragment, Id, NatOa, Notify, Payload, Sa,
};

/// The messages, in the order of their exchanges. Those of phase 1 depend on how the peers authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Main Mode, first and second.
    MainSa,
    /// Main Mode, third and fourth: key exchange.
    MainKe(Method),
    /// Main Mode, fifth and sixth: identity and proof.
    MainAuth(Method, Proof),
    /// Aggressive Mode, first.
    AggressiveFirst(Method),
    /// Aggressive Mode, second.
    AggressiveSecond(Method, Proof),
    /// Aggressive Mode, third.
    AggressiveThird(Proof),
    /// Quick Mode, first and second.
    Quick,
    /// Quick Mode, third, and fourth where it is asked for (the commit bit).
    QuickEnd,
    /// Informational, in clear or protected.
    Informational,
    /// The transaction exchange.
    Transaction,
}

/// How the peers authenticate, as far as it decides which payloads come when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By pre-shared key or signatures: identities as they are.
    Plain,
    /// By public key encryption (§5.2): identity and nonce encrypted each by itself.
    Encryption,
    /// By revised public key encryption (§5.3): nonce encrypted with the public key; key exchange,
    /// identity and certificate with keys made of it.
    Revised,
}

/// What proves who the sender is. The two ends may differ (hybrid authentication).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A hash payload.
    Hash,
    /// A signature payload.
    Signature,
}

/// A payload that a message may have: least and most.
type Rule = (PayloadType, usize, usize);

/// As many as a message holds: bounded by [`crate::wire::payload::MAX_PAYLOADS`].
const ANY: usize = usize::MAX;

const KE_AND_NONCE: &[Rule] = &[(PayloadType::KE, 1, 1), (PayloadType::NONCE, 1, 1)];
const KE_NONCE_ID: &[Rule] =
    &[(PayloadType::KE, 1, 1), (PayloadType::NONCE, 1, 1), (PayloadType::ID, 1, 1)];
const ENCRYPTED_KE: &[Rule] = &[
    (PayloadType::KE, 1, 1),
    (PayloadType::NONCE, 1, 1),
    (PayloadType::ID, 1, 1),
    (PayloadType::HASH, 0, 1),
    (PayloadType::CERT, 0, 1),
];
const SA: &[Rule] = &[(PayloadType::SA, 1, 1)];
const ID: &[Rule] = &[(PayloadType::ID, 1, 1)];
const HASH: &[Rule] = &[(PayloadType::HASH, 1, 1)];
const SIG: &[Rule] = &[(PayloadType::SIG, 1, 1), (PayloadType::CERT, 0, ANY)];
const QUICK: &[Rule] = &[
    (PayloadType::HASH, 1, 1),
    (PayloadType::SA, 1, 1),
    (PayloadType::NONCE, 1, 1),
    (PayloadType::KE, 0, 1),
    (PayloadType::ID, 0, 2),
];
const TRANSACTION: &[Rule] = &[(PayloadType::HASH, 1, 1), (PayloadType::ATTRIBUTE, 1, 1)];
const INFORMATIONAL: &[Rule] = &[(PayloadType::HASH, 0, 1)];

/// What any message may have besides; of no other type.
const ALWAYS: &[PayloadType] = &[
    PayloadType::VID,
    PayloadType::N,
    PayloadType::D,
    PayloadType::CR,
    PayloadType::NAT_D,
    PayloadType::NAT_D_DRAFT,
    PayloadType::NAT_OA,
    PayloadType::NAT_OA_DRAFT,
];

impl Message {
    fn rules(self) -> Vec<Rule> {
        let proof = |proof| match proof {
            Proof::Hash => HASH,
            Proof::Signature => SIG,
        };
        let parts: &[&[Rule]] = match self {
            Message::MainSa => &[SA],
            Message::MainKe(Method::Plain) => &[KE_AND_NONCE],
            Message::MainKe(_) => &[ENCRYPTED_KE],
            Message::MainAuth(Method::Plain, by) => &[ID, proof(by)],
            Message::MainAuth(..) => &[HASH],
            Message::AggressiveFirst(Method::Plain) => &[SA, KE_NONCE_ID],
            Message::AggressiveFirst(_) => &[SA, ENCRYPTED_KE],
            Message::AggressiveSecond(Method::Plain, by) => &[SA, KE_NONCE_ID, proof(by)],
            Message::AggressiveSecond(..) => &[SA, KE_NONCE_ID, HASH, &[(PayloadType::CERT, 0, 1)]],
            Message::AggressiveThird(by) => &[proof(by)],
            Message::Quick => &[QUICK],
            Message::QuickEnd => &[HASH],
            Message::Informational => &[INFORMATIONAL],
            Message::Transaction => &[TRANSACTION],
        };
        parts.concat()
    }

    /// The payload that must stand in front, if one must (RFC 2409 §5: SA in the first messages, HASH in
    /// those of phase 2).
    fn in_front(self) -> Option<PayloadType> {
        match self {
            Message::MainSa | Message::AggressiveFirst(_) | Message::AggressiveSecond(..) => {
                Some(PayloadType::SA)
            }
            Message::Quick | Message::QuickEnd | Message::Transaction => Some(PayloadType::HASH),
            _ => None,
        }
    }

    /// Whether the message must come encrypted; `None` where both are seen: the last of Aggressive Mode, and
    /// notifications before there are keys.
    pub fn encrypted(self) -> Option<bool> {
        match self {
            Message::MainSa
            | Message::MainKe(_)
            | Message::AggressiveFirst(_)
            | Message::AggressiveSecond(..) => Some(false),
            Message::MainAuth(..) | Message::Quick | Message::QuickEnd | Message::Transaction => {
                Some(true)
            }
            Message::AggressiveThird(_) | Message::Informational => None,
        }
    }

    /// The payload types whose bodies are encrypted by themselves, for
    /// [`parse_opaque`](crate::wire::v1::parse_opaque).
    pub fn opaque(self) -> &'static [PayloadType] {
        let method = match self {
            Message::MainKe(method)
            | Message::AggressiveFirst(method)
            | Message::AggressiveSecond(method, _) => method,
            _ => Method::Plain,
        };
        match method {
            Method::Plain => &[],
            Method::Encryption => &[PayloadType::ID, PayloadType::NONCE],
            Method::Revised => {
                &[PayloadType::ID, PayloadType::NONCE, PayloadType::KE, PayloadType::CERT]
            }
        }
    }
}

/// A message's payloads by type. What is not known to this version is left out.
#[derive(Debug, Default)]
pub struct Bag {
    /// Security Association.
    pub sa: Option<Sa>,
    /// Key Exchange.
    pub ke: Option<Vec<u8>>,
    /// Nonce.
    pub nonce: Option<Vec<u8>>,
    /// Identities: one in phase 1; in phase 2 none, or the initiator's and the responder's.
    pub ids: Vec<Id>,
    /// Hash.
    pub hash: Option<Vec<u8>>,
    /// Signature.
    pub signature: Option<Vec<u8>>,
    /// Certificates.
    pub certs: Vec<Cert>,
    /// Wishes for certificates.
    pub requests: Vec<CertReq>,
    /// Notifications.
    pub notifies: Vec<Notify>,
    /// Deletions.
    pub deletes: Vec<Delete>,
    /// Vendor IDs.
    pub vendors: Vec<Vec<u8>>,
    /// Attributes of the transaction exchange.
    pub attributes: Option<Attributes>,
    /// NAT-D hashes in their order; the drafts' payload number is taken for the RFC's.
    pub nat_d: Vec<Vec<u8>>,
    /// Original addresses in their order; likewise.
    pub nat_oa: Vec<NatOa>,
    /// Fragments.
    pub fragments: Vec<Fragment>,
    /// Bodies that are encrypted by themselves.
    pub closed: Vec<(PayloadType, Vec<u8>)>,
}

impl Bag {
    /// The first notification of this type.
    pub fn notify(&self, wanted: NotifyType) -> Option<&Notify> {
        self.notifies.iter().find(|notify| notify.notify_type == wanted)
    }

    /// Whether there is a notification of this type.
    pub fn has(&self, wanted: NotifyType) -> bool {
        self.notify(wanted).is_some()
    }

    /// The first notification of an error.
    pub fn error(&self) -> Option<&Notify> {
        self.notifies.iter().find(|notify| notify.notify_type.is_error())
    }

    /// The closed body of this type.
    pub fn closed(&self, wanted: PayloadType) -> Option<&[u8]> {
        let found = self.closed.iter().find(|(payload_type, _)| *payload_type == wanted);
        found.map(|(_, body)| body.as_slice())
    }
}

/// Sorts payloads by the rules of their message.
///
/// # Errors
///
/// The rule that is broken, in words.
pub fn sort(message: Message, payloads: Vec<Payload>) -> Result<Bag, String> {
    let count = |wanted| payloads.iter().filter(|p| p.payload_type() == wanted).count();
    let rules = message.rules();
    for &(wanted, least, most) in &rules {
        let found = count(wanted);
        if found < least || found > most {
            let allowed = match most {
                ANY => format!("{least} or more"),
                most => format!("{least} to {most}"),
            };
            return Err(format!("{found} {wanted} payloads in {message:?}, {allowed} allowed"));
        }
    }
    if message == Message::Quick && count(PayloadType::ID) == 1 {
        return Err("1 ID payload in Quick, 0 or 2 allowed".into());
    }
    let first = payloads.first().map(Payload::payload_type);
    if let Some(wanted) = message.in_front().filter(|wanted| first != Some(*wanted)) {
        return Err(format!("{wanted} is not the first payload in {message:?}"));
    }
    let known = |payload_type| {
        let ruled = rules.iter().any(|(ruled, _, _)| *ruled == payload_type);
        ruled || ALWAYS.contains(&payload_type) || payload_type.name().is_none()
    };
    if let Some(wrong) = payloads.iter().map(Payload::payload_type).find(|found| !known(*found)) {
        return Err(format!("a {wrong} payload has no place in {message:?}"));
    }
    let mut bag = Bag::default();
    payloads.into_iter().for_each(|payload| bag.put(payload));
    Ok(bag)
}

impl Bag {
    fn put(&mut self, payload: Payload) {
        match payload {
            Payload::Sa(sa) => self.sa = Some(sa),
            Payload::Ke(ke) => self.ke = Some(ke),
            Payload::Nonce(nonce) => self.nonce = Some(nonce.0),
            Payload::Id(id) => self.ids.push(id),
            Payload::Hash(hash) => self.hash = Some(hash),
            Payload::Sig(signature) => self.signature = Some(signature),
            Payload::Cert(cert) => self.certs.push(cert),
            Payload::CertReq(request) => self.requests.push(request),
            Payload::Notify(notify) => self.notifies.push(notify),
            Payload::Delete(delete) => self.deletes.push(delete),
            Payload::Vendor(vendor) => self.vendors.push(vendor),
            Payload::Attributes(attributes) => self.attributes = Some(attributes),
            Payload::NatD { hash, .. } => self.nat_d.push(hash),
            Payload::NatOa { address, .. } => self.nat_oa.push(address),
            Payload::Fragment(fragment) => self.fragments.push(fragment),
            Payload::Opaque { payload_type, body } => self.closed.push((payload_type, body)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::Nonce;

    fn sa() -> Payload {
        Payload::Sa(Sa { proposals: Vec::new() })
    }

    fn nonce() -> Payload {
        Payload::Nonce(Nonce(vec![1; 8]))
    }

    fn id() -> Payload {
        Payload::Id(Id::of_address([192, 0, 2, 1].into()))
    }

    #[test]
    fn what_belongs_is_sorted() {
        let payloads = vec![sa(), Payload::Vendor(vec![1]), Payload::Vendor(vec![2])];
        let bag = sort(Message::MainSa, payloads).unwrap();
        assert!(bag.sa.is_some());
        assert_eq!(bag.vendors, [vec![1], vec![2]]);
        let hash = Payload::Hash(vec![3]);
        let payloads = vec![hash.clone(), sa(), nonce(), id(), id()];
        assert_eq!(sort(Message::Quick, payloads).unwrap().ids.len(), 2);
        let unknown = Payload::Opaque { payload_type: PayloadType(200), body: vec![4] };
        let bag = sort(Message::QuickEnd, vec![hash, unknown]).unwrap();
        assert_eq!(bag.closed(PayloadType(200)), Some(&[4][..]));
    }

    #[test]
    fn broken_rules_are_told() {
        let ke = || Payload::Ke(vec![2]);
        let hash = || Payload::Hash(vec![3]);
        let cert = || Payload::Opaque { payload_type: PayloadType::CERT, body: Vec::new() };
        let method = Method::Plain;
        let rows = [
            (Message::MainSa, vec![], "0 SA payloads in MainSa, 1 to 1 allowed"),
            (Message::MainSa, vec![sa(), sa()], "2 SA payloads in MainSa, 1 to 1 allowed"),
            (
                Message::MainSa,
                vec![Payload::Vendor(Vec::new()), sa()],
                "SA is not the first payload in MainSa",
            ),
            (
                Message::MainKe(method),
                vec![ke(), nonce(), id()],
                "a ID payload has no place in MainKe(Plain)",
            ),
            (
                Message::MainAuth(method, Proof::Signature),
                vec![id(), hash()],
                "0 SIG payloads in MainAuth(Plain, Signature), 1 to 1 allowed",
            ),
            (
                Message::MainKe(Method::Revised),
                vec![ke(), nonce(), id(), cert(), cert()],
                "2 CERT payloads in MainKe(Revised), 0 to 1 allowed",
            ),
            (
                Message::Quick,
                vec![hash(), sa(), nonce(), id()],
                "1 ID payload in Quick, 0 or 2 allowed",
            ),
            (Message::Quick, vec![sa(), nonce(), hash()], "HASH is not the first payload in Quick"),
            (
                Message::Informational,
                vec![hash(), sa()],
                "a SA payload has no place in Informational",
            ),
            (
                Message::Transaction,
                vec![hash()],
                "0 ATTRIBUTE payloads in Transaction, 1 to 1 allowed",
            ),
        ];
        for (message, payloads, words) in rows {
            assert_eq!(sort(message, payloads).err().as_deref(), Some(words));
        }
    }

    #[test]
    fn the_table_is_in_order() {
        for message in [
            Message::MainSa,
            Message::MainKe(Method::Encryption),
            Message::MainAuth(Method::Plain, Proof::Signature),
            Message::AggressiveFirst(Method::Revised),
            Message::AggressiveSecond(Method::Revised, Proof::Hash),
            Message::AggressiveThird(Proof::Hash),
            Message::Quick,
            Message::QuickEnd,
            Message::Informational,
            Message::Transaction,
        ] {
            let rules = message.rules();
            assert!(rules.iter().all(|(_, least, most)| least <= most && *most > 0));
            let in_front = message.in_front();
            assert!(
                in_front.is_none_or(|first| rules
                    .iter()
                    .any(|(t, least, _)| *t == first && *least == 1))
            );
            let closed = message.opaque();
            assert!(closed.iter().all(|closed| rules.iter().any(|(t, _, _)| t == closed)));
            assert!(closed.is_empty() || message.encrypted() == Some(false));
        }
    }
}
