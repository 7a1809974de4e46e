//! What a person reads: the daemon's views as aligned text.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::conf::{Mode, SaProtocol};
use crate::ike::event::{Direction, SaCounters};
use crate::ike::report::{self, Explained, Report, Way};
use crate::ike::selector;
use crate::ike::view::{ChildView, SaView, Stats};
use crate::log::{printable, utc};
use crate::pki::{CertView, Part};
use crate::proc::message::{Event, FlowView};

/// A span of time by its two largest units: `1h2m`, `45s`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];
    let first = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(3);
    let mut text = String::new();
    let mut rest = seconds;
    for (unit, name) in units.iter().skip(first).take(2) {
        let count = rest / unit;
        if count > 0 || text.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(text, "{count}{name}");
        }
        rest %= unit;
    }
    text
}

/// A number of octets: `1.5 MiB`.
pub fn octets(count: u64) -> String {
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", count as f64 / *unit as f64),
        None => format!("{count} octets"),
    }
}

/// A certificate, revocation list or raw key, several lines.
pub fn cert(view: &CertView, now: SystemTime) -> String {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let date = |seconds: i64| {
        utc(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
    };
    let past = |seconds: i64| u64::try_from(seconds).unwrap_or_default() < now;
    let state = match &view.fault {
        _ if view.part == Part::RawKey => "trusted".into(),
        _ if view.not_after > 0 && past(view.not_after) => "EXPIRED".into(),
        _ if !past(view.not_before) => "not valid yet".into(),
        Some(fault) => format!("not usable: {}", printable(fault)),
        None => "valid".into(),
    };
    let key = if view.key.is_empty() { String::new() } else { format!(", {}", view.key) };
    let subject = printable(&view.subject);
    let mut lines = vec![format!("{}: {}{key}: {subject}: {state}", view.file, view.part)];
    let mut row = |name: &str, text: String| lines.push(format!("    {name:<8} {text}"));
    if !view.issuer.is_empty() {
        row("issuer", printable(&view.issuer));
    }
    if !view.serial.is_empty() {
        row("serial", view.serial.clone());
    }
    for identity in &view.identities {
        row("for", printable(identity));
    }
    if view.not_before > 0 {
        let until = if view.not_after > 0 { date(view.not_after) } else { "?".into() };
        row("valid", format!("{} to {until}", date(view.not_before)));
    }
    for above in &view.chain {
        row("below", printable(above));
    }
    lines.join("\n")
}

/// An IKE SA with its child SAs, several lines.
pub fn sa(view: &SaView) -> String {
    let policy = view.policy.as_ref().map_or("(no policy yet)", |name| name.0.as_str());
    let role = if view.initiator { "initiator" } else { "responder" };
    let mut lines = vec![format!(
        "{policy}: {}, {} with {}, IKEv{} {role}, {}",
        view.state,
        view.local,
        view.remote,
        view.version,
        ages(view.age, view.rekey_in)
    )];
    let id = |id: &Option<String>| printable(id.as_deref().unwrap_or("?"));
    let mut row = |name: &str, text: String| lines.push(format!("    {name:<6} {text}"));
    if view.local_id.is_some() || view.remote_id.is_some() {
        row("ids", format!("{} with {}", id(&view.local_id), id(&view.remote_id)));
    }
    if let Some(login) = &view.login {
        row("login", printable(login));
    }
    if let Some(inner) = &view.inner {
        row("inner", inner.clone());
    }
    row("spis", format!("{} {}", view.spis.0, view.spis.1));
    if let Some(suite) = &view.suite {
        row("suite", suite.clone());
    }
    if !view.path.is_empty() {
        row("path", view.path.join(", "));
    }
    for view in &view.children {
        row("child", child(view));
        if let Some((spi_in, spi_out)) = view.around {
            row("", format!("ah around it, in {spi_in:#010x} out {spi_out:#010x}"));
        }
        if let Some((cpi_in, cpi_out)) = view.ipcomp {
            row("", format!("ipcomp within, in {cpi_in:#06x} out {cpi_out:#06x}"));
        }
        row("", view.suite.clone());
        for flow in &view.flows {
            row("", selector::printed(flow));
        }
        if let Some((inbound, outbound)) = &view.counters {
            row("", format!("in {}, out {}", counters(inbound), counters(outbound)));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn child(view: &ChildView) -> String {
    let encap = if view.udp_encap { " in UDP" } else { "" };
    format!(
        "{} {}{encap}, in {:#010x} out {:#010x}, {}, {}",
        protocol(view.protocol),
        mode(view.mode),
        view.spi_in,
        view.spi_out,
        view.state,
        ages(view.age, view.rekey_in)
    )
}

fn ages(age: Duration, rekey_in: Option<Duration>) -> String {
    match rekey_in {
        Some(rekey) => format!("age {}, rekey in {}", span(age), span(rekey)),
        None => format!("age {}", span(age)),
    }
}

fn counters(counters: &SaCounters) -> String {
    let idle = counters.idle.map(|idle| format!(" {} ago", span(idle))).unwrap_or_default();
    format!("{} packets, {}{idle}", counters.packets, octets(counters.bytes))
}

fn protocol(protocol: SaProtocol) -> &'static str {
    match protocol {
        SaProtocol::Esp => "esp",
        SaProtocol::Ah => "ah",
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Tunnel => "tunnel",
        Mode::Transport => "transport",
    }
}

/// A flow in the kernel, one line.
pub fn flow(view: &FlowView) -> String {
    let direction = match view.direction {
        Direction::In => "in",
        Direction::Out => "out",
    };
    let ipcomp = if view.ipcomp { "ipcomp " } else { "" };
    let around = if view.around { " ah" } else { "" };
    format!(
        "{direction:<3} {:<42} {ipcomp}{}{around} {} {} with {}",
        selector::printed(&view.selector),
        protocol(view.protocol),
        mode(view.mode),
        view.local,
        view.remote
    )
}

/// The counters, a line each.
pub fn stats(stats: &Stats) -> String {
    let rows = [
        (stats.datagrams_in, "datagrams taken"),
        (stats.datagrams_out, "datagrams sent"),
        (stats.retransmits, "requests sent again"),
        (stats.duplicates, "duplicates answered from the cache"),
        (stats.malformed, "datagrams dropped as malformed"),
        (stats.forged, "datagrams dropped because protection did not verify"),
        (stats.fragments_in, "fragments taken"),
        (stats.fragments_out, "fragments sent"),
        (stats.cookies, "cookies asked for"),
        (stats.half_open, "IKE SAs half open now"),
        (stats.established, "IKE SAs established"),
        (stats.failed, "negotiations failed"),
        (stats.children, "child SAs installed"),
        (stats.rekeys, "SAs rekeyed"),
    ];
    rows.map(|(count, what)| format!("{count:>10} {what}\n")).concat()
}

/// A report, with what each side offered on lines of its own where that is why it failed.
pub fn event(event: &Event) -> String {
    let time = utc(UNIX_EPOCH + Duration::from_secs(event.at));
    let report::Event::Disagreed(it) = &event.report.event else {
        return format!("{time} {}", printable(&event.report.to_string()));
    };
    let who = who(&event.report);
    let mut lines = vec![format!("{time} {who}: no agreement on {}: {}", it.about, it.mismatch)];
    lines.extend(it.ours.iter().map(|line| format!("    we allow         {line}")));
    lines.extend(it.theirs.iter().map(|line| format!("    the peer offers  {line}")));
    lines.push(format!("    what to do       {}", it.advice));
    lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
}

fn who(report: &Report) -> String {
    match (&report.policy, report.peer) {
        (Some(policy), Some(peer)) => format!("{} ({peer})", policy.0),
        (Some(policy), None) => policy.0.clone(),
        (None, Some(peer)) => peer.to_string(),
        (None, None) => "somebody".into(),
    }
}

/// A failure in full: with whom, what was negotiated, what each side wants, the one thing that does
/// not match, what to change.
pub fn explanation(event: &Event) -> String {
    let report = &event.report;
    let mut lines = Vec::new();
    let mut row = |name: &str, text: &str| lines.push(format!("{name:<14} {text}"));
    row("when", &utc(UNIX_EPOCH + Duration::from_secs(event.at)));
    if let Some(policy) = &report.policy {
        row("policy", &policy.0);
    }
    if let Some(peer) = report.peer {
        row("peer", &peer.to_string());
    }
    if let Some(identity) = &report.identity {
        row("identity", identity);
    }
    let Explained { what, ours, theirs, reason, advice } = report.event.explained();
    row("what failed", &what);
    let mut list = |name: &str, lines: &[String]| {
        for (at, line) in lines.iter().enumerate() {
            row(if at == 0 { name } else { "" }, line);
        }
    };
    list("on our side", &ours);
    list("peer's side", &theirs);
    row("because", &reason);
    if !advice.is_empty() {
        row("what to do", &advice);
    }
    lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
}

/// A message as a rung of the ladder, its payloads below; `None` for what is no message.
pub fn rung(event: &Event) -> Option<String> {
    let report::Event::Message { way, local, summary, payloads } = &event.report.event else {
        return None;
    };
    let time = utc(UNIX_EPOCH + Duration::from_secs(event.at));
    let time = time.get(11..19).unwrap_or_default();
    let peer = event.report.peer.map(|peer| peer.to_string()).unwrap_or_default();
    let arrow = match way {
        Way::In => "<────",
        Way::Out => "────>",
    };
    let mut lines = vec![format!("{time}  {local:<22} {arrow}  {peer:<22}  {summary}")];
    lines.extend(payloads.iter().map(|payload| format!("            {payload}")));
    Some(lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::conf::{PolicyName, Prefix};
    use crate::ike::event::{KernelSelector, Ports};
    use crate::ike::report::Disagreement;

    #[test]
    fn spans_show_their_two_largest_units() {
        let shown = |seconds| span(Duration::from_secs(seconds));
        let all = [0, 59, 60, 61, 3720, 3600, 90_061].map(shown);
        assert_eq!(all, ["0s", "59s", "1m", "1m1s", "1h2m", "1h", "1d1h"]);
    }

    #[test]
    fn octets_have_units() {
        assert_eq!(
            [0, 1023, 1536, 3 << 20].map(octets),
            ["0 octets", "1023 octets", "1.5 KiB", "3.0 MiB"]
        );
    }

    fn view() -> SaView {
        let prefix = |text: &str| Prefix::new(text.parse().unwrap(), 24).unwrap();
        SaView {
            version: 2,
            spis: ("0011223344556677".into(), "8899aabbccddeeff".into()),
            policy: Some(PolicyName("home".into())),
            initiator: true,
            state: "established".into(),
            local: "192.0.2.1:500".parse().unwrap(),
            remote: "192.0.2.2:500".parse().unwrap(),
            local_id: Some("a.example".into()),
            remote_id: Some("b\u{7}.example".into()),
            login: Some("al\u{7}ice (the peer)".into()),
            inner: Some("10.0.2.7 (the peer's)".into()),
            suite: Some("ENCR_AES_GCM_16-256".into()),
            path: vec!["NAT before us".into()],
            age: Duration::from_secs(62),
            rekey_in: None,
            children: vec![ChildView {
                protocol: SaProtocol::Esp,
                mode: Mode::Tunnel,
                spi_in: 0x1234,
                spi_out: 0xc000_0001,
                ipcomp: Some((0x100, 0xefff)),
                around: Some((0x1235, 0xc000_0002)),
                suite: "ENCR_AES_CBC-128".into(),
                udp_encap: true,
                state: "installed".into(),
                flows: vec![KernelSelector {
                    src: prefix("10.0.1.0"),
                    dst: prefix("10.0.2.0"),
                    ip_protocol: 6,
                    src_port: Ports::ANY,
                    dst_port: Ports::exactly(80),
                }],
                age: Duration::from_secs(60),
                rekey_in: Some(Duration::from_secs(3540)),
                counters: None,
            }],
        }
    }

    #[test]
    fn an_sa_is_shown_with_its_children() {
        let wanted = "\
home: established, 192.0.2.1:500 with 192.0.2.2:500, IKEv2 initiator, age 1m2s
    ids    a.example with b?.example
    login  al?ice (the peer)
    inner  10.0.2.7 (the peer's)
    spis   0011223344556677 8899aabbccddeeff
    suite  ENCR_AES_GCM_16-256
    path   NAT before us
    child  esp tunnel in UDP, in 0x00001234 out 0xc0000001, installed, age 1m, rekey in 59m
           ah around it, in 0x00001235 out 0xc0000002
           ipcomp within, in 0x0100 out 0xefff
           ENCR_AES_CBC-128
           10.0.1.0/24 -> 10.0.2.0/24 port 80 proto 6
";
        assert_eq!(sa(&view()), wanted);
    }

    #[test]
    fn a_disagreement_shows_both_sides() {
        let it = Disagreement {
            about: "IKE proposal".into(),
            ours: vec!["Curve25519".into()],
            theirs: vec!["MODP-2048".into()],
            mismatch: "key exchange".into(),
            advice: "name the same group on both sides".into(),
        };
        let report = Report {
            peer: Some("192.0.2.2:500".parse().unwrap()),
            policy: None,
            identity: None,
            event: report::Event::Disagreed(Box::new(it)),
        };
        let text = event(&Event { at: 0, report });
        for wanted in ["192.0.2.2:500", "key exchange", "we allow         Curve25519", "MODP-2048"]
        {
            assert!(text.contains(wanted), "{text}");
        }
    }
}
