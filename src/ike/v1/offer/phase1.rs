//! Proposals of phase 1.

use super::{MOST, advice, algorithms, encryption, lifetime, unknown};
use crate::conf::{Lifetime, Policy, Proposal};
use crate::crypto::{Block, Error, IkeSuite, Prf, kex};
use crate::ike::proposal::{self, Kind};
use crate::ike::report::Disagreement;
use crate::ike::v1::method::Method;
use crate::wire::Spi;
use crate::wire::attribute::Attribute;
use crate::wire::iana::v1::{
    AuthMethod, EncryptionId, HashId, IkeAttribute, IsakmpTransform, LifeType, ProtocolId,
};
use crate::wire::iana::v2::{GroupId, TransformType};
use crate::wire::v1::{Proposal as WireProposal, Sa, Transform};
use crate::wire::v2::sa::{Proposal as Offer, Transform as Part};

/// Phase 1 as it was agreed on.
#[derive(Debug, Clone)]
pub struct Phase1Choice {
    /// The algorithms; the PRF is HMAC with the hash.
    pub suite: IkeSuite,
    /// How the sides prove who they are.
    pub method: Method,
    /// The lifetime that the peer wants; zero where it says none.
    pub lifetime: Lifetime,
    /// The answer: one proposal with one transform.
    pub answer: Sa,
}

/// What we offer for phase 1, each transform with this way of authentication: nothing that the cryptographic
/// library leaves out.
pub fn phase1(policy: &Policy, method: AuthMethod) -> Sa {
    let mut transforms = Vec::new();
    let suites = policy.ike_proposals.iter().flat_map(ike_suites);
    for suite in suites.filter(|suite| computed(suite).is_ok()) {
        let Some(attributes) = ike_attributes(&suite, method, policy.ike_lifetime) else {
            continue;
        };
        let Ok(number) = u8::try_from(transforms.len() + 1) else { break };
        transforms.push(Transform { number, id: IsakmpTransform::KEY_IKE.0, attributes });
    }
    let (number, protocol) = (1, ProtocolId::ISAKMP);
    Sa { proposals: vec![WireProposal { number, protocol, spi: Spi::None, transforms }] }
}

/// Why there is nothing to offer: what each suite of ours lacks.
pub fn lacking(policy: &Policy) -> Vec<String> {
    let suites = policy.ike_proposals.iter().flat_map(ike_suites);
    let mut why: Vec<_> = suites.filter_map(|it| Some(computed(&it).err()?.to_string())).collect();
    why.dedup();
    why
}

/// Chooses from what the peer offers for phase 1.
///
/// # Errors
///
/// What each side allows, and the item that did not match.
pub fn choose_phase1(
    policy: &Policy,
    methods: &[AuthMethod],
    theirs: &Sa,
) -> Result<Phase1Choice, Box<Disagreement>> {
    let isakmp = theirs.proposals.iter().filter(|it| it.protocol == ProtocolId::ISAKMP);
    let all: Vec<_> = isakmp
        .flat_map(|it| it.transforms.iter().map(move |transform| (it, transform)))
        .take(MOST)
        .collect();
    let method_of = |transform: &Transform| {
        let number = transform.ike(IkeAttribute::AUTHENTICATION_METHOD)?;
        u16::try_from(number).ok().map(AuthMethod)
    };
    let fits = |(_, transform): &&(&WireProposal, &Transform)| {
        method_of(transform).is_some_and(|method| methods.contains(&method))
    };
    let offers = |list: &[&(&WireProposal, &Transform)]| -> Vec<Offer> {
        (1..=u8::MAX).zip(list).map(|(number, (_, it))| ike_offer(number, it)).collect()
    };
    let fitting: Vec<_> = all.iter().filter(fits).collect();
    let ours = single(&policy.ike_proposals);
    if fitting.is_empty() && !all.is_empty() {
        let said: Vec<_> = all.iter().filter_map(|(_, it)| method_of(it)).collect();
        return Err(other_method(policy, methods, &said, &offers(&all.iter().collect::<Vec<_>>())));
    }
    let theirs = offers(&fitting);
    let able: Vec<_> = ours.iter().filter_map(able).collect();
    let chosen = proposal::choose_ike(&able, &theirs, None).or_else(|_| {
        let chosen = proposal::choose_ike(&ours, &theirs, None)?;
        match computed(&chosen.suite) {
            Ok(()) => Ok(chosen),
            Err(why) => Err(proposal::incomputable(&ours, &theirs, &why)),
        }
    });
    let chosen = chosen.map_err(|mut it| {
        it.about = "the proposal of phase 1".into();
        it.advice = advice("main or aggressive");
        it
    })?;
    let at = usize::from(chosen.answer.number).saturating_sub(1);
    let found = fitting.get(at).and_then(|(proposal, transform)| {
        Some((proposal, transform, method_of(transform).and_then(Method::of)?))
    });
    let Some((proposal, transform, method)) = found else {
        return Err(other_method(policy, methods, &[], &[]));
    };
    let proposal = WireProposal { transforms: vec![(*transform).clone()], ..(*proposal).clone() };
    Ok(Phase1Choice {
        suite: chosen.suite,
        method,
        lifetime: lifetime(&transform.ike_lifetimes()),
        answer: Sa { proposals: vec![proposal] },
    })
}

/// Checks what the peer chose of our offer for phase 1.
///
/// # Errors
///
/// How it breaks the protocol.
pub fn accept_phase1(offered: &Sa, answer: &Sa) -> Result<Phase1Choice, String> {
    let [proposal] = answer.proposals.as_slice() else {
        return Err(format!("{} proposals in the answer instead of one", answer.proposals.len()));
    };
    let [transform] = proposal.transforms.as_slice() else {
        let count = proposal.transforms.len();
        return Err(format!("{count} transforms in the answer instead of one"));
    };
    let suite =
        |it: &Transform| (ike_offer(0, it).transforms, it.ike(IkeAttribute::AUTHENTICATION_METHOD));
    let ours = offered.proposals.iter().flat_map(|it| &it.transforms);
    if !ours.into_iter().any(|it| suite(it) == suite(transform)) {
        let chosen = proposal::printed(&[ike_offer(0, transform)]).join("");
        return Err(format!("the peer chose {chosen}, which we did not offer"));
    }
    let mine = ike_offer(1, transform);
    let mine = std::slice::from_ref(&mine);
    let (suite, _) = proposal::accept_ike(mine, mine)?;
    let method = transform.ike(IkeAttribute::AUTHENTICATION_METHOD);
    let method = method.and_then(|it| Method::of(AuthMethod(u16::try_from(it).ok()?)));
    Ok(Phase1Choice {
        suite,
        method: method.ok_or("a method of authentication that is not spoken here")?,
        lifetime: lifetime(&transform.ike_lifetimes()),
        answer: answer.clone(),
    })
}

/// The suites that a proposal of ours stands for.
fn ike_suites(proposal: &Proposal) -> Vec<IkeSuite> {
    let mut suites = Vec::new();
    for &group in &proposal.groups {
        for &encryption in &proposal.encryption {
            for &prf in &proposal.prf {
                suites.push(IkeSuite { encryption, integrity: None, prf, group });
            }
        }
    }
    suites
}

/// Whether the suite is computed here.
///
/// # Errors
///
/// What of it is not, by name.
fn computed(suite: &IkeSuite) -> Result<(), Error> {
    suite.block().and(suite.prf().map(drop))?;
    match kex::supported(suite.group) {
        true => Ok(()),
        false => Err(Error::Unsupported(suite.group.to_string())),
    }
}

/// What of a proposal is computed here, if anything comes of it.
fn able(proposal: &Proposal) -> Option<Proposal> {
    let encryption = proposal.encryption.iter().copied();
    let encryption: Vec<_> =
        encryption.filter(|(id, bits)| Block::new(*id, *bits).is_ok()).collect();
    let prf: Vec<_> = proposal.prf.iter().copied().filter(|id| Prf::new(*id).is_ok()).collect();
    let groups = proposal.groups.iter().copied();
    let groups: Vec<_> = groups.filter(|group| kex::supported(*group)).collect();
    (!encryption.is_empty() && !prf.is_empty() && !groups.is_empty()).then(|| Proposal {
        encryption,
        prf,
        groups,
        ..proposal.clone()
    })
}

/// Our proposals for phase 1 as they are matched; a policy of IKEv1 names no integrity.
fn single(ours: &[Proposal]) -> Vec<Proposal> {
    ours.iter().map(|it| Proposal { integrity: Vec::new(), ..it.clone() }).collect()
}

fn ike_attributes(suite: &IkeSuite, method: AuthMethod, lifetime: u32) -> Option<Vec<Attribute>> {
    let (cipher, bits) = suite.encryption;
    let short = |class: IkeAttribute, value| Attribute::short(class.0, value);
    let cipher = algorithms::ike_cipher_id(cipher)?;
    let mut attributes = vec![short(IkeAttribute::ENCRYPTION_ALGORITHM, cipher.0)];
    attributes.extend(bits.map(|bits| short(IkeAttribute::KEY_LENGTH, bits)));
    attributes.extend([
        short(IkeAttribute::HASH_ALGORITHM, algorithms::hash_id(suite.prf)?.0),
        short(IkeAttribute::GROUP_DESCRIPTION, suite.group.0),
        short(IkeAttribute::AUTHENTICATION_METHOD, method.0),
    ]);
    if lifetime != 0 {
        attributes.push(short(IkeAttribute::LIFE_TYPE, LifeType::SECONDS.0));
        attributes.push(Attribute::number(IkeAttribute::LIFE_DURATION.0, lifetime.into()));
    }
    Some(attributes)
}

pub(super) fn ike_offer(number: u8, transform: &Transform) -> Offer {
    let value = |class| transform.ike(class).and_then(|it| u16::try_from(it).ok());
    let mut parts = Vec::new();
    if let Some(id) = value(IkeAttribute::ENCRYPTION_ALGORITHM) {
        let known = algorithms::ike_cipher(EncryptionId(id));
        parts.push(encryption(known, id, transform.ike(IkeAttribute::KEY_LENGTH)));
    }
    if let Some(id) = value(IkeAttribute::HASH_ALGORITHM) {
        let known = algorithms::hash(HashId(id));
        parts.push(known.map_or(unknown(TransformType::PRF, id), Part::Prf));
    }
    // RFC 2409 §5.6: without a description the first group is meant, unless one is described.
    let described = transform.ike(IkeAttribute::GROUP_TYPE).is_some();
    let group = value(IkeAttribute::GROUP_DESCRIPTION);
    let group = group.or((!described).then_some(GroupId::MODP_768.0));
    parts.extend(group.map(|id| Part::Ke(GroupId(id))));
    Offer { number, protocol: Kind::Ike.protocol(), spi: Spi::None, transforms: parts }
}

fn other_method(
    policy: &Policy,
    methods: &[AuthMethod],
    said: &[AuthMethod],
    theirs: &[Offer],
) -> Box<Disagreement> {
    let list = |methods: &[AuthMethod]| {
        let mut names: Vec<_> = methods.iter().map(ToString::to_string).collect();
        names.dedup();
        names.join("/")
    };
    let ours = proposal::offer(&policy.ike_proposals, Kind::Ike, &Spi::None);
    let lines = |offers: &[Offer], methods: &str| -> Vec<String> {
        proposal::printed(offers).into_iter().map(|line| format!("{line}, {methods}")).collect()
    };
    Box::new(Disagreement {
        about: "the proposal of phase 1".into(),
        ours: lines(&ours, &list(methods)),
        theirs: lines(theirs, &list(said)),
        mismatch: format!(
            "authentication: we allow {}, the peer offers {}",
            list(methods),
            list(said)
        ),
        advice: "have both sides authenticate in the same way".into(),
    })
}
