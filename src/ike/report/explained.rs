//! A failure part by part: what both sides want, what stood in the way, what to change.

use super::Event;

/// What a peer that is called by IKEv1 may leave unanswered.
pub const MAIN_MODE: &str = "Main Mode's proposal";
/// Likewise.
pub const AGGRESSIVE_MODE: &str = "Aggressive Mode's proposal";
/// Likewise.
pub const MAIN_MODE_PROOF: &str = "Main Mode's proof (do the pre-shared keys differ?)";

/// A failure taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explained {
    /// What did not come about.
    pub what: String,
    /// What our side wants or offered, a line each.
    pub ours: Vec<String>,
    /// What the peer wants or offers, a line each.
    pub theirs: Vec<String>,
    /// The one thing that stood in the way.
    pub reason: String,
    /// What to change, on which side.
    pub advice: String,
}

impl Event {
    /// What failed and why, part by part.
    pub fn explained(&self) -> Explained {
        let of = |what: &str, reason: String, advice: &str| Explained {
            what: what.into(),
            reason,
            advice: advice.into(),
            ..Explained::default()
        };
        match self {
            Event::Disagreed(it) => Explained {
                what: format!("no agreement on {}", it.about),
                ours: it.ours.clone(),
                theirs: it.theirs.clone(),
                reason: it.mismatch.clone(),
                advice: it.advice.clone(),
            },
            Event::Refused { what, notify, offered, advice } => Explained {
                what: format!("the peer refused {what}"),
                ours: offered.clone(),
                theirs: vec![format!("{notify}; what it wants instead it does not say")],
                reason: notify.clone(),
                advice: advice.clone(),
            },
            Event::NoAnswer { exchange, .. } => {
                of("the peer does not answer", self.to_string(), silence_advice(exchange))
            }
            Event::NoPolicy { wanted, candidates } => Explained {
                ours: candidates.clone(),
                theirs: vec![wanted.clone()],
                ..of(
                    "no policy is for this peer",
                    format!("no policy for {wanted}"),
                    "compare `local`, `peer`, `srcid`, `dstid` and the method of authentication of \
                     the policies with what the peer says; where its address changes, write \
                     `peer any`",
                )
            },
            Event::NatForbidden => of(
                "the peer is not called through a NAT",
                self.to_string(),
                "take the NAT out of the way, or leave out `nonat`",
            ),
            Event::NoGroup { groups } => Explained {
                ours: groups.clone(),
                ..of(
                    "the peer cannot be called",
                    self.to_string(),
                    "write `ikesa` with a group that is computed here, on both sides",
                )
            },
            Event::NothingComputed { why } => Explained {
                ours: why.clone(),
                ..of(
                    "the peer cannot be called",
                    self.to_string(),
                    "write after `main` or `aggressive` what is computed here, on both sides",
                )
            },
            Event::LoginFailed { .. } => of(
                "the login failed",
                self.to_string(),
                "compare the name behind `xauth` and the `user` lines of the two sides",
            ),
            Event::HalfOpenExpired { unmet: Some(_) } => of(
                "the peer began and did not go on",
                self.to_string(),
                "see the peer's log, and have it do without, or not insist",
            ),
            Event::HalfOpenExpired { unmet: None } => of(
                "the peer began and did not go on",
                self.to_string(),
                "see the peer's log: it disliked our answer, or did not get it; behind a NAT it goes \
                 on over UDP 4500, which must pass both ways",
            ),
            Event::KernelFailed { .. } => of(
                "the kernel refused",
                self.to_string(),
                "where it is the algorithm, write `childsa` with one that this kernel has, on both \
                 sides",
            ),
            Event::KernelIncapable { wanted, able, .. } => Explained {
                ours: wanted.clone(),
                theirs: vec![format!("(the kernel) {able}")],
                ..of(
                    "no child SA can be proposed",
                    self.to_string(),
                    "write `childsa` with what this kernel can do, on both sides",
                )
            },
            Event::NotSelectable { .. } => of(
                "the policy's traffic does not fit into this kernel's flows",
                self.to_string(),
                "write `from`, `to`, `port` and `proto` so that it does, on both sides",
            ),
            Event::PeerNotAuthenticated { identity } => Explained {
                ours: vec!["the psk of this policy".into()],
                theirs: vec![format!("{identity}, with another")],
                ..of(
                    "the peer did not prove who it is",
                    self.to_string(),
                    "write the same psk on both sides",
                )
            },
            Event::PeerRejected { identity, why } => Explained {
                ours: vec![format!("wanted {}", why.wanted)],
                theirs: std::iter::once(identity.clone()).chain(why.found.clone()).collect(),
                reason: match why.certificate.as_str() {
                    "" => why.check.clone(),
                    certificate => format!("{certificate}: {}", why.check),
                },
                ..of("the peer's proof is not accepted", String::new(), &why.advice)
            },
            Event::QuestionRefused { .. } => of(
                "there is nothing to prove or to judge an identity with",
                self.to_string(),
                "see `oakctl show certs` and the `psk` of the policy",
            ),
            Event::OtherVersion { ours, theirs } => Explained {
                ours: vec![format!("IKEv{ours}")],
                theirs: vec![format!("IKEv{theirs}")],
                ..of(
                    "the two sides speak different versions",
                    format!("we speak IKEv{ours} to the peer and it answers in IKEv{theirs}"),
                    &format!(
                        "make the rule an `{}` rule, or have the peer allow IKEv{ours}",
                        if *theirs == 1 { "ike" } else { "ikev2" }
                    ),
                )
            },
            Event::Internal { .. } => of(
                "a fault within",
                self.to_string(),
                "nothing that the configuration of either side can mend; please tell of it",
            ),
            Event::ProofUnreadable { .. } => of(
                "the peer's proof of identity is not readable",
                self.to_string(),
                "write the same psk on both sides; where several rules are for the peer's address, see \
                 that it is this one that it means",
            ),
            Event::Misbehaved { .. } => of(
                "the peer broke the protocol",
                self.to_string(),
                "nothing here can be changed about it; `oakctl trace` shows the messages",
            ),
            other => of("a negotiation failed", other.to_string(), ""),
        }
    }
}

/// What to look at when nothing comes back.
fn silence_advice(exchange: &str) -> &'static str {
    match exchange {
        "IKE_SA_INIT" | MAIN_MODE | AGGRESSIVE_MODE => {
            "see whether the peer runs, whether its address is right, and whether UDP 500 passes both \
             ways"
        }
        "IKE_AUTH" => {
            "the peer answered before: see whether UDP 4500 passes (a NAT needs it) and large datagrams \
             with it, and what the peer's log says"
        }
        MAIN_MODE_PROOF => {
            "compare the pre-shared keys, which the peer needs to read what it was sent; see whether UDP \
             4500 passes (a NAT needs it), and what the peer's log says"
        }
        _ => "the peer was there before: see whether it still runs and has a way to us",
    }
}
