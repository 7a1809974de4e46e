//! What an `ike` rule of ipsec.conf(5) means to the daemon: policies of IKEv1, with the defaults
//! that isakmpd(8) has.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Checker, Place, Problem};
use crate::conf::ipsec::{
    AUTH, Address, Algorithms, ENC, Entry, GROUP, IkeEntry, IkeMode, IkeRule, Kind, Transform,
    is_sound, transform,
};
use crate::conf::syntax::Spanned;
use crate::conf::{
    Auth, Checked, EsnChoice, Flow, FlowAddresses, FlowEnd, Ike1Auth, Ike1Proof, Lifetime, Mode,
    Phase1, Policy, PolicyName, PolicySecret, Prefix, Proposal, SaProtocol, Signature, Start,
    Version,
};
use crate::crypto::kex;
use crate::wire::iana::v2::{EncryptionId, GroupId, IdType, IntegrityId, PrfId};

/// isakmpd's lifetimes of phase 1 and phase 2, in seconds.
const LIFETIMES: (u32, u32) = (3600, 1200);

/// What isakmpd takes where a rule is silent: `auth` of phase 1 and of phase 2.
const USUAL_HASH: (&str, &str) = ("hmac-sha1", "hmac-sha2-256");

/// And `enc` and `group` of both.
const USUAL: (&str, &str) = ("aes", "modp3072");

/// Our end and the peer's.
type Ends = (Option<Prefix>, Option<Prefix>);

impl Checker<'_> {
    /// The policies of a rule: one for each peer that its entries have. Gives back how many.
    pub(super) fn ike(
        &mut self,
        rule: &IkeRule,
        entries: &[Entry],
        checked: &mut Checked,
    ) -> usize {
        self.ikes += 1;
        let place = rule.end.place;
        let entries: Vec<&IkeEntry> = entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Ike(entry) => Some(&**entry),
                _ => None,
            })
            .collect();
        let before = self.errors();
        self.ike_auth(rule);
        if let Some(sentence) = no_bundle(rule) {
            self.error(place, Problem::says(sentence));
            return 0;
        }
        for entry in &entries {
            if let Err(sentence) = is_sound(entry, self.names) {
                self.error(place, Problem::says(sentence));
                return 0;
            }
        }
        let mut policies: Vec<Policy> = Vec::new();
        let mut known: HashMap<Ends, usize> = HashMap::new();
        for entry in entries {
            let (local, peer) = (entry.local.as_ref(), entry.peer.as_ref());
            let ends = (local.map(|it| Prefix::host(it.ip)), peer.map(prefix));
            match known.get(&ends).and_then(|at| policies.get_mut(*at)) {
                Some(policy) => policy.flows.push(flow(entry)),
                None => {
                    let Some(policy) = self.ike_policy(rule, entry, ends, policies.len()) else {
                        return 0;
                    };
                    known.insert(ends, policies.len());
                    policies.push(policy);
                }
            }
        }
        if self.errors() != before {
            return 0;
        }
        let count = policies.len();
        for policy in policies {
            self.callers_key(rule, &policy);
            let secret = rule.psk.clone().map(|psk| (policy.name.clone(), psk));
            checked.secrets.extend(secret.map(|(policy, psk)| PolicySecret { policy, psk }));
            checked.config.policies.push(policy);
        }
        count
    }

    fn ike_policy(
        &mut self,
        rule: &IkeRule,
        entry: &IkeEntry,
        (local, peer): Ends,
        index: usize,
    ) -> Option<Policy> {
        let place = rule.end.place;
        let aggressive = rule.phase1.as_ref().is_some_and(|phase| phase.aggressive);
        let phase1 = if aggressive { Phase1::Aggressive } else { Phase1::Main };
        let protocol = match rule.kind() {
            Kind::Ah => SaProtocol::Ah,
            _ => SaProtocol::Esp,
        };
        let around = match rule.has_beside(Kind::Ah) {
            true => Some(self.around(rule)?),
            false => None,
        };
        let start = match rule.mode {
            Some(IkeMode::Passive) => Start::Passive,
            // isakmpd's default peer cannot be called.
            _ if peer.and_then(|peer| peer.as_host()).is_none() => Start::Passive,
            Some(IkeMode::Active | IkeMode::Dynamic) | None => Start::Active,
        };
        let auth = match rule.psk {
            Some(_) => Auth::PSK,
            None => Auth::signature(rule.signature),
        };
        let (provision, wanted) = self.addressing(&rule.options);
        let life = |seconds: Option<u64>, usual: u32| {
            seconds.map_or(usual, |seconds| u32::try_from(seconds).unwrap_or(u32::MAX))
        };
        let lifetimes = [rule.phase1.as_ref(), rule.phase2.as_ref()].map(|it| it?.lifetime);
        for seconds in lifetimes.into_iter().flatten() {
            if (1..60).contains(&seconds) {
                self.warn(place, "a lifetime below a minute: rekeying never rests");
            }
        }
        let dynamic = rule.mode == Some(IkeMode::Dynamic);
        let hostname = || self.names.hostname().filter(|_| dynamic);
        let srcid = rule.ends.srcid.clone().or_else(hostname);
        let (local_id, remote_id) = (srcid, rule.ends.dstid.clone());
        Some(Policy {
            name: self.ike_name(place, index)?,
            version: Version::V1(phase1),
            start,
            quick: false,
            skip: false,
            default: false,
            protocol,
            mode: rule.encapsulation.unwrap_or(Mode::Tunnel),
            ipcomp: rule.has_beside(Kind::Ipcomp),
            around,
            force_natt: false,
            family: None,
            rdomain: None,
            flows: vec![flow(entry)],
            local,
            peer,
            ike_proposals: vec![self.phase1_proposal(rule)?],
            child_proposals: vec![self.phase2_proposal(rule, protocol)?],
            key_mark: 0,
            child_proposals_explicit: rule.phase2.is_some(),
            local_id: local_id.and_then(|id| self.ike_identity(id, place)),
            remote_id: remote_id.and_then(|id| self.ike_identity(id, place)),
            auth,
            ike1: Ike1Auth { proof: rule.proof, xauth: rule.xauth.clone() },
            provision,
            wanted,
            ike_lifetime: life(lifetimes[0], LIFETIMES.0),
            local_by_route: false,
            reauth: false,
            no_nat: false,
            childless: false,
            child_lifetime: Lifetime {
                seconds: life(lifetimes[1], LIFETIMES.1),
                bytes: rule.phase2.as_ref().and_then(|phase| phase.bytes).unwrap_or(0),
            },
            tag: rule.tag.clone(),
            tap: None,
            iface: rule.iface.clone().or(rule.interface.map(|unit| format!("sec{unit}"))),
        })
    }

    /// In main mode the key is needed before anybody says who he is.
    fn callers_key(&mut self, rule: &IkeRule, policy: &Policy) {
        let (Some(psk), None, Version::V1(Phase1::Main)) = (&rule.psk, policy.peer, policy.version)
        else {
            return;
        };
        let before = self.callers.insert(policy.local, psk.clone());
        if before.is_some_and(|before| before != *psk) {
            let sentence = "another psk than that of a rule above which is for any peer, too: in main \
                            mode only the last such key is used, write aggressive or the same psk";
            self.warn(rule.end.place, sentence);
        }
    }

    /// Words about who proves what that do not go together.
    fn ike_auth(&mut self, rule: &IkeRule) {
        let place = rule.end.place;
        let word = rule.proof.word().unwrap_or_default();
        if rule.proof != Ike1Proof::Usual && rule.psk.is_some() {
            let sentence = format!("{word} and psk are two ways: leave one out");
            self.error(place, Problem::says(sentence));
        }
        let plain = rule.proof == Ike1Proof::Usual && rule.xauth.is_none();
        if rule.signature != Signature::Rsa && !plain {
            let signature = rule.signature.word();
            let sentence =
                format!("{signature} goes with neither xauth nor another proof: write rsa");
            self.error(place, Problem::says(sentence));
        }
        match (rule.proof, &rule.xauth) {
            (Ike1Proof::Hybrid, None) => {
                let sentence = "hybrid authenticates the initiator by xauth alone: write xauth";
                self.error(place, Problem::says(sentence));
            }
            (Ike1Proof::Encryption | Ike1Proof::RevisedEncryption, Some(_)) => {
                let sentence = format!("{word} goes with no xauth");
                self.error(place, Problem::says(sentence));
            }
            _ => {}
        }
    }

    /// `ike1`, `ike2` … by the position among the `ike` rules; with more than one peer `ike1.2` ….
    fn ike_name(&mut self, place: Place, index: usize) -> Option<PolicyName> {
        let name = match index {
            0 => format!("ike{}", self.ikes),
            _ => format!("ike{}.{}", self.ikes, index + 1),
        };
        if self.used.insert(name.clone()) {
            return Some(PolicyName(name));
        }
        let sentence = format!("an ikev2 rule above has the name \"{name}\" of this rule");
        self.error(place, Problem::says(sentence));
        None
    }

    fn ike_identity(&mut self, value: String, place: Place) -> Option<crate::conf::Identity> {
        if let Ok(address) = value.parse::<IpAddr>() {
            let (id_type, data) = match address {
                IpAddr::V4(v4) => (IdType::ID_IPV4_ADDR, v4.octets().to_vec()),
                IpAddr::V6(v6) => (IdType::ID_IPV6_ADDR, v6.octets().to_vec()),
            };
            return Some(crate::conf::Identity { id_type, data });
        }
        self.identity(&Spanned { value, place })
    }

    fn phase1_proposal(&mut self, rule: &IkeRule) -> Option<Proposal> {
        let chosen = rule.phase1.as_ref().map(|phase| phase.algorithms.clone());
        let chosen = chosen.unwrap_or_default();
        let place = rule.end.place;
        let encryption = self.ike_ciphers(chosen.enc.or(transform(USUAL.0, ENC)), place)?;
        let hash = chosen.auth.or(transform(USUAL_HASH.0, AUTH));
        let prf = hash.and_then(|row| match row.isakmpd {
            "MD5" => Some(PrfId::PRF_HMAC_MD5),
            "SHA" => Some(PrfId::PRF_HMAC_SHA1),
            "SHA2_256" => Some(PrfId::PRF_HMAC_SHA2_256),
            "SHA2_384" => Some(PrfId::PRF_HMAC_SHA2_384),
            "SHA2_512" => Some(PrfId::PRF_HMAC_SHA2_512),
            _ => None,
        });
        let Some(prf) = prf else { return self.ike_unsupported(hash, place) };
        let groups = self.ike_groups(&chosen, place)?;
        let integrity = Vec::new();
        Some(Proposal { encryption, prf: vec![prf], integrity, groups, esn: EsnChoice::No })
    }

    fn phase2_proposal(&mut self, rule: &IkeRule, protocol: SaProtocol) -> Option<Proposal> {
        let chosen = rule.phase2.as_ref().map(|phase| phase.algorithms.clone());
        let chosen = chosen.unwrap_or_default();
        let place = rule.end.place;
        let encryption = match protocol {
            SaProtocol::Esp => self.ike_ciphers(chosen.enc.or(transform(USUAL.0, ENC)), place)?,
            SaProtocol::Ah => Vec::new(),
        };
        let hash = match chosen.enc {
            Some(enc) if enc.aead => None,
            Some(enc) if enc.word == "null" && chosen.auth.is_none() => {
                let sentence = "null without \"auth\" protects nothing: write auth hmac-sha2-256";
                self.error(place, Problem::says(sentence));
                return None;
            }
            _ => chosen.auth.or(transform(USUAL_HASH.1, AUTH)),
        };
        let integrity = match hash {
            Some(row) => vec![self.ike_integrity(row, place)?],
            None => Vec::new(),
        };
        let groups = self.ike_groups(&chosen, place)?;
        Some(Proposal { encryption, prf: Vec::new(), integrity, groups, esn: EsnChoice::No })
    }

    /// The integrity of AH around ESP: that of `auth`, as ESP's own is.
    fn around(&mut self, rule: &IkeRule) -> Option<IntegrityId> {
        let chosen = rule.phase2.as_ref().and_then(|phase| phase.algorithms.auth);
        let row = chosen.or(transform(USUAL_HASH.1, AUTH))?;
        self.ike_integrity(row, rule.end.place)
    }

    fn ike_integrity(&mut self, row: &'static Transform, place: Place) -> Option<IntegrityId> {
        match row.isakmpd {
            "MD5" => Some(IntegrityId::AUTH_HMAC_MD5_96),
            "SHA" => Some(IntegrityId::AUTH_HMAC_SHA1_96),
            "SHA2_256" => Some(IntegrityId::AUTH_HMAC_SHA2_256_128),
            "SHA2_384" => Some(IntegrityId::AUTH_HMAC_SHA2_384_192),
            "SHA2_512" => Some(IntegrityId::AUTH_HMAC_SHA2_512_256),
            _ => self.ike_unsupported(Some(row), place),
        }
    }

    /// A cipher with the key lengths that isakmpd takes for it, the one that it offers first.
    fn ike_ciphers(
        &mut self,
        row: Option<&'static Transform>,
        place: Place,
    ) -> Option<Vec<(EncryptionId, Option<u16>)>> {
        let id = row.and_then(|row| match row.isakmpd {
            "3DES" => Some(EncryptionId::ENCR_3DES),
            "AES" => Some(EncryptionId::ENCR_AES_CBC),
            "AES_CTR" => Some(EncryptionId::ENCR_AES_CTR),
            "AES_GCM_16" => Some(EncryptionId::ENCR_AES_GCM_16),
            "AES_GMAC" => Some(EncryptionId::ENCR_NULL_AUTH_AES_GMAC),
            "BLOWFISH" => Some(EncryptionId::ENCR_BLOWFISH),
            "CAST" => Some(EncryptionId::ENCR_CAST),
            "NULL" => Some(EncryptionId::ENCR_NULL),
            _ => None,
        });
        let (Some(id), Some(row)) = (id, row) else { return self.ike_unsupported(row, place) };
        let Some((first, least, most)) = row.key_length.and_then(key_lengths) else {
            return Some(vec![(id, None)]);
        };
        let step = if id == EncryptionId::ENCR_BLOWFISH { 8 } else { 64 };
        let others = (least..=most).step_by(step).filter(|bits| *bits != first);
        Some([first].into_iter().chain(others).map(|bits| (id, Some(bits))).collect())
    }

    fn ike_groups(&mut self, chosen: &Algorithms, place: Place) -> Option<Vec<GroupId>> {
        let row = chosen.group.or(transform(USUAL.1, GROUP));
        let word = row.map_or("", |row| row.word);
        let word =
            word.strip_prefix("bp").map_or(word.to_owned(), |bits| format!("brainpool{bits}"));
        match GroupId::from_keyword(&word).map(|(id, _)| id) {
            Some(GroupId::NONE) => Some(Vec::new()),
            Some(id) if kex::supported(id) => Some(vec![id]),
            _ => self.ike_unsupported(row, place),
        }
    }

    fn ike_unsupported<T>(&mut self, row: Option<&'static Transform>, place: Place) -> Option<T> {
        let word = row.map_or("", |row| row.word);
        let sentence = format!("\"{word}\" is known and not supported in an ike rule");
        self.error(place, Problem::says(sentence));
        None
    }
}

/// Why these protocols make no bundle, or none that can be negotiated.
fn no_bundle(rule: &IkeRule) -> Option<String> {
    let alone = |kind: &Kind| matches!(kind, Kind::Ipip | Kind::TcpMd5);
    if let Some(kind) = rule.kinds.iter().find(|kind| alone(kind)) {
        return Some(format!("ike cannot negotiate {}: write esp or ah", kind.word()));
    }
    if rule.kind() == Kind::Ipcomp {
        let sentence = "ike cannot negotiate ipcomp alone: write ipcomp esp, or ipcomp ah";
        return Some(sentence.to_owned());
    }
    let takes_sas = |iface: &String| iface.starts_with("sec") || iface.starts_with("ipsec");
    let bundle = rule.kinds.len() > 1;
    (bundle && rule.iface.as_ref().is_some_and(takes_sas))
        .then(|| "an interface takes no bundle: write esp alone".to_owned())
}

/// The key length offered, the least and the longest accepted: `128,128:256`.
fn key_lengths(text: &str) -> Option<(u16, u16, u16)> {
    let (first, range) = text.split_once(',')?;
    let (least, most) = range.split_once(':')?;
    Some((first.parse().ok()?, least.parse().ok()?, most.parse().ok()?))
}

fn prefix(address: &Address) -> Prefix {
    Prefix::new(address.ip, address.length).unwrap_or(Prefix::host(address.ip))
}

fn flow(entry: &IkeEntry) -> Flow {
    let end = |address: &Address, port: u16| FlowEnd {
        addresses: match address.is_dynamic() {
            true => FlowAddresses::Dynamic,
            false => FlowAddresses::Prefix(prefix(address)),
        },
        ports: if port == 0 { (0, u16::MAX) } else { (port, port) },
    };
    Flow {
        ip_protocol: entry.protocol,
        local: end(&entry.src, entry.src_port),
        remote: end(&entry.dst, entry.dst_port),
        srcnat: entry.src.srcnat.as_ref().map(|nat| prefix(nat)),
    }
}
