//! Syntax to meaning: names become addresses and numbers, defaults are filled in, and what cannot
//! be honoured is refused (`check/able.rs` says what that is). Flows are made in `check/flow.rs`,
//! proposals in `check/proposal.rs`, identities and secrets in `check/auth.rs`, `config` and
//! `request` in `check/addressing.rs`, `radius` in `check/radius.rs`, warnings about rules as a
//! whole in `check/overlap.rs`.

mod able;
mod addressing;
mod auth;
mod flow;
mod ike;
mod overlap;
mod proposal;
mod radius;

use std::collections::{HashMap, HashSet};

use super::diagnostic::{Place, Severity};
use super::ipsec::{Bundles, Rule, expand};
use super::parse::{Parsed, Problem};
use super::source::{Files, Names};
use super::syntax::{Ikev2Rule, Matching, Set, Spanned, Statement};
use super::{
    Checked, Config, Flow, FlowAddresses, FlowEnd, Globals, Ike1Auth, Lifetime, Mode,
    OCSP_TOLERATE, Ocsp, Policy, PolicyName, PolicySecret, Prefix, SaProtocol, Start, Version,
};
use crate::crypto::Secret;

/// iked's lifetime of a child SA: three hours.
const CHILD_SECONDS: u32 = 10_800;

/// iked's limit of a child SA: 4 GiB.
const CHILD_BYTES: u64 = 4 << 30;

/// The longest name, tag or identity in octets (iked's own limits are no larger).
const NAME_LIMIT: usize = 255;

/// Judges what was parsed; `None` if there is an error. Remarks are added to `parsed`.
pub(super) fn check(parsed: &mut Parsed, names: &dyn Names, files: &dyn Files) -> Option<Checked> {
    let statements = std::mem::take(&mut parsed.statements);
    let mut checker = Checker {
        parsed,
        names,
        files,
        used: HashSet::new(),
        rules: 0,
        ikes: 0,
        callers: HashMap::new(),
        bundles: Bundles::default(),
        unresolved: false,
    };
    let mut checked = Checked {
        config: Config::default(),
        secrets: Vec::new(),
        users: Vec::new(),
        unresolved: Vec::new(),
        diagnostics: Vec::new(),
    };
    let mut places = Vec::new();
    for statement in &statements {
        if let Some((place, policies)) = checker.statement(statement, &mut checked) {
            places.resize(places.len() + policies, place);
        }
    }
    overlap::warn(checker.parsed, &checked.config.policies, &places);
    parsed.statements = statements;
    parsed.sort();
    if parsed.has_errors() {
        return None;
    }
    checked.diagnostics = parsed.diagnostics.clone();
    Some(checked)
}

struct Checker<'a> {
    parsed: &'a mut Parsed,
    names: &'a dyn Names,
    files: &'a dyn Files,
    /// The names of policies so far.
    used: HashSet<String>,
    /// How many `ikev2` and `ike` rules there were so far.
    rules: usize,
    ikes: usize,
    /// By what key callers from anywhere prove themselves in main mode, for each address of ours.
    callers: HashMap<Option<Prefix>, Secret>,
    bundles: Bundles,
    /// Whether a host name of the present rule has no address now.
    unresolved: bool,
}

impl Checker<'_> {
    fn error(&mut self, place: Place, problem: Problem) {
        self.parsed.remark(Severity::Error, place, problem);
    }

    fn warn(&mut self, place: Place, sentence: impl Into<String>) {
        self.parsed.remark(Severity::Warning, place, Problem::says(sentence));
    }

    fn errors(&self) -> usize {
        self.parsed.errors()
    }

    /// The place of the rule and how many policies the statement became, if it became any.
    fn statement(
        &mut self,
        statement: &Statement,
        checked: &mut Checked,
    ) -> Option<(Place, usize)> {
        match statement {
            Statement::Set(set) => self.set(set, &mut checked.config.globals),
            Statement::User(user) => self.user(user, &mut checked.users),
            Statement::Radius(line) => self.radius(line),
            Statement::Ipsec(rule) => return Some((rule.end(), self.ipsec(rule, checked))),
            Statement::Ikev2(rule) => {
                self.rules += 1;
                self.unresolved = false;
                let before = self.errors();
                let secrets = checked.secrets.len();
                let policy = self.rule(rule, &mut checked.secrets);
                if self.unresolved {
                    checked.secrets.truncate(secrets);
                    checked.unresolved.push(PolicyName(self.name_of(rule)));
                    return None;
                }
                let policy = policy?;
                if self.errors() == before {
                    checked.config.policies.push(policy);
                    return Some((rule.start_of_rule.place, 1));
                }
            }
        }
        None
    }

    /// Rules of ipsec.conf(5): flows and manual SAs are not the daemon's to load. How many
    /// policies a rule became.
    fn ipsec(&mut self, rule: &Rule, checked: &mut Checked) -> usize {
        let place = rule.end();
        if rule.holds_secrets() {
            self.exposed(place, "a key");
        }
        let (entries, fault) = expand(rule, &mut self.bundles, self.names, self.files, false);
        if let Some(failure) = fault {
            self.error(place, Problem::says(failure.sentence()));
            return 0;
        }
        for (place, sentence) in rule.warnings() {
            self.warn(place, sentence);
        }
        match rule {
            Rule::Ike(rule) => self.ike(rule, &entries, checked),
            Rule::Flow(_) | Rule::Sa(_) => {
                self.warn(place, "the daemon does not load this rule: oakctl -f FILE does");
                0
            }
        }
    }

    fn set(&mut self, set: &Spanned<Set>, globals: &mut Globals) {
        let word = match &set.value {
            Set::Number(word, number) => {
                // The parser knows the bounds.
                let number = u32::try_from(*number).unwrap_or(u32::MAX);
                match *word {
                    "ca_workers" => globals.ca_workers = u8::try_from(number).unwrap_or(u8::MAX),
                    "cert_expiry_warning" => globals.cert_expiry_warning = number,
                    _ => globals.dpd_check_interval = number,
                }
                return;
            }
            Set::Ocsp { url, tolerate, maxage } => {
                let seconds = |time: u64| u32::try_from(time).unwrap_or(u32::MAX);
                let tolerate = tolerate.map_or(OCSP_TOLERATE, seconds);
                globals.ocsp =
                    Some(Ocsp { url: url.clone(), tolerate, maxage: maxage.map(seconds) });
                return self.set_is_able("ocsp", set.place);
            }
            Set::Flag(word) => word.as_str(),
        };
        self.set_is_able(word, set.place);
        match word {
            "active" => globals.passive = false,
            "passive" => globals.passive = true,
            "couple" => globals.decouple = false,
            "decouple" => globals.decouple = true,
            "fragmentation" => globals.fragmentation = true,
            "nofragmentation" => globals.fragmentation = false,
            "mobike" => globals.mobike = true,
            "nomobike" => globals.mobike = false,
            "vendorid" => globals.vendor_id = true,
            "novendorid" => globals.vendor_id = false,
            "enforcesingleikesa" => globals.enforce_single_ike_sa = true,
            "noenforcesingleikesa" => globals.enforce_single_ike_sa = false,
            "stickyaddress" => globals.sticky_address = true,
            "nostickyaddress" => globals.sticky_address = false,
            "rsa_pss" => globals.rsa_pss = true,
            "norsa_pss" => globals.rsa_pss = false,
            "cert_partial_chain" => globals.cert_partial_chain = true,
            _ => {}
        }
    }

    fn rule(&mut self, rule: &Ikev2Rule, secrets: &mut Vec<PolicySecret>) -> Option<Policy> {
        let place = rule.start_of_rule.place;
        let name = self.name(rule)?;
        let family = rule.family.as_ref().map(|f| f.value);
        let local = self.peer_address(rule.local.as_ref(), family)?;
        let peer = self.peer_address(rule.peer.as_ref(), family)?;
        if let (Some(l), Some(p), Some(word)) = (local, peer, &rule.peer)
            && l.address().is_ipv4() != p.address().is_ipv4()
        {
            let problem = Problem::says("local and peer are of different address families");
            self.error(word.place, problem);
        }
        let flows = self.flows(rule, family);
        let (local, peer) = ends(rule, &flows).unwrap_or((local, peer));
        let protocol = rule.protocol.as_ref().map_or(SaProtocol::Esp, |p| p.value);
        let matching = rule.matching.as_ref().map(|m| m.value);
        let auth = self.auth(rule, &name, secrets);
        let (provision, wanted) = self.addressing(&rule.options);
        self.is_able(rule);
        Some(Policy {
            version: Version::V2,
            start: self.start(rule, peer),
            quick: matching == Some(Matching::Quick),
            skip: matching == Some(Matching::Skip),
            default: matching == Some(Matching::Default),
            protocol,
            mode: rule.mode.as_ref().map_or(Mode::Tunnel, |m| m.value),
            ipcomp: rule.ipcomp.is_some(),
            around: None,
            force_natt: rule.natt.is_some(),
            family,
            rdomain: rule.rdomain.as_ref().and_then(|r| u32::try_from(r.value).ok()),
            flows,
            local,
            peer,
            ike_proposals: self.ike_proposals(&rule.ike_sas),
            child_proposals: self.child_proposals(&rule.child_sas, protocol),
            key_mark: 0,
            child_proposals_explicit: !rule.child_sas.is_empty(),
            local_id: self.local_id(rule, &auth),
            remote_id: rule.dstid.as_ref().and_then(|id| self.identity(id)),
            auth,
            ike1: Ike1Auth::default(),
            provision,
            wanted,
            ike_lifetime: self.seconds(rule.ike_lifetime.as_ref(), 0),
            local_by_route: false,
            reauth: rule.reauth,
            no_nat: self.no_nat(rule),
            childless: rule.childless.is_some(),
            child_lifetime: Lifetime {
                seconds: self.seconds(rule.lifetime.as_ref(), CHILD_SECONDS),
                bytes: rule.bytes.as_ref().map_or(CHILD_BYTES, |b| b.value),
            },
            tag: self.short(rule.tag.as_ref()),
            tap: rule.tap.as_ref().and_then(|tap| self.tap(tap)),
            iface: self.short(rule.iface.as_ref()),
            name,
        })
        .filter(|policy| {
            if policy.flows.is_empty() && !self.unresolved && !self.parsed.has_errors() {
                let problem = Problem::says("no flow is left: the families of its sides differ");
                self.error(place, problem);
            }
            !policy.flows.is_empty()
        })
    }

    /// `nonat`, which does not go with `natt`.
    fn no_nat(&mut self, rule: &Ikev2Rule) -> bool {
        if let (Some(no_nat), Some(_)) = (&rule.no_nat, &rule.natt) {
            let sentence = "\"nonat\" forbids what \"natt\" pretends: write one of them";
            self.error(no_nat.place, Problem::says(sentence));
        }
        rule.no_nat.is_some()
    }

    fn name_of(&self, rule: &Ikev2Rule) -> String {
        rule.name
            .as_ref()
            .map_or_else(|| format!("policy{}", self.rules), |name| name.value.clone())
    }

    /// The rule's own name, or `policyN` by its position among the rules.
    fn name(&mut self, rule: &Ikev2Rule) -> Option<PolicyName> {
        let name = self.name_of(rule);
        let place = rule.name.as_ref().map_or(rule.start_of_rule.place, |name| name.place);
        if name.is_empty() || name.len() > NAME_LIMIT || name.contains(char::is_control) {
            let expected = format!("a name of 1 to {NAME_LIMIT} printable octets");
            self.error(place, Problem::found("another name", expected));
            return None;
        }
        if !self.used.insert(name.clone()) {
            let sentence = format!("a rule with the name \"{name}\" stands above already");
            self.error(place, Problem::says(sentence));
            return None;
        }
        Some(PolicyName(name))
    }

    fn start(&mut self, rule: &Ikev2Rule, peer: Option<Prefix>) -> Start {
        let Some(start) = &rule.start else { return Start::Passive };
        let callable = peer.is_some_and(|p| p.as_host().is_some());
        if start.value != Start::Passive && !callable {
            let sentence = "this rule can only wait: to start it needs \"peer\" with one address";
            self.error(start.place, Problem::says(sentence));
        }
        start.value
    }

    fn seconds(&mut self, value: Option<&Spanned<u64>>, default: u32) -> u32 {
        let Some(value) = value else { return default };
        let seconds = u32::try_from(value.value).unwrap_or(u32::MAX);
        if (1..60).contains(&seconds) {
            self.warn(value.place, "a lifetime below a minute: rekeying never rests");
        }
        seconds
    }

    fn short(&mut self, word: Option<&Spanned<String>>) -> Option<String> {
        let word = word?;
        if word.value.is_empty() || word.value.len() > NAME_LIMIT {
            let expected = format!("1 to {NAME_LIMIT} octets");
            self.error(
                word.place,
                Problem::found(format!("{} octets", word.value.len()), expected),
            );
            return None;
        }
        Some(word.value.clone())
    }

    fn tap(&mut self, word: &Spanned<String>) -> Option<u32> {
        let unit = word.value.strip_prefix("enc").and_then(|n| n.parse().ok());
        if unit.is_none() {
            let found = format!("\"{}\"", word.value);
            self.error(word.place, Problem::found(found, "\"enc\" and a number"));
        }
        unit
    }
}

/// The gateways of a rule that names none and goes from host to host: these hosts, as in iked.
fn ends(rule: &Ikev2Rule, flows: &[Flow]) -> Option<(Option<Prefix>, Option<Prefix>)> {
    let ([clause], None, None) = (rule.flows.as_slice(), &rule.local, &rule.peer) else {
        return None;
    };
    let single = clause.from.hosts.len() == 1 && clause.to.hosts.len() == 1;
    let host = |end: &FlowEnd| match end.addresses {
        FlowAddresses::Prefix(prefix) => prefix.as_host().map(Prefix::host),
        FlowAddresses::Dynamic => None,
    };
    let flow = flows.first().filter(|_| single)?;
    let same = flows.iter().all(|it| {
        (&it.local.addresses, &it.remote.addresses)
            == (&flow.local.addresses, &flow.remote.addresses)
    });
    let peer = host(&flow.remote).filter(|_| same)?;
    Some((host(&flow.local), Some(peer)))
}
