//! What oakctl does with the kernel by itself, in ipsecctl(8)'s flags and manner.

use getopts::Matches;
use oakd::conf::ipsec::Entry;
use oakd::conf::ipsecctl::{self, Style};
use oakd::conf::system;
use oakd::ipsecctl::load::{self, Action};
use oakd::ipsecctl::{Admin, PfKey, show};
use pfkey::socket::Dump;
use pfkey::{Dialect, Request, print};

use super::{FILE, line, macros};

/// What is asked for; ipsecctl does it in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `-F`.
    Flush,
    /// `-f FILE`, `-d`.
    Load,
    /// `-s`.
    Show(What),
    /// `-m`.
    Monitor,
}

/// The word after `-s`, or the beginning of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Flows,
    Sas,
    All,
}

/// The steps that the options ask for.
pub fn steps(matches: &Matches) -> Result<Vec<Step>, String> {
    let shown = matches.opt_str("s").map(|word| {
        let words = [("flow", What::Flows), ("sa", What::Sas), ("all", What::All)];
        let found = words.iter().find(|(whole, _)| !word.is_empty() && whole.starts_with(&word));
        found.map(|(_, what)| Step::Show(*what)).ok_or_else(|| {
            let path = word.contains('/');
            let hint = if path { "; the control socket is -S now" } else { "" };
            format!("-s {word}: want all, flow or sa{hint}")
        })
    });
    let steps = [
        matches.opt_present("F").then_some(Step::Flush),
        matches.opt_present("f").then_some(Step::Load),
        shown.transpose()?,
        matches.opt_present("m").then_some(Step::Monitor),
    ];
    Ok(steps.into_iter().flatten().collect())
}

/// Takes the steps.
pub fn run(matches: &Matches, steps: &[Step]) -> Result<(), String> {
    let idle = matches.opt_present("n");
    if matches.opt_present("i") {
        eprintln!("oakctl: -i: there is no isakmpd; ike rules are read by oakd(8)");
    }
    let mut failed = false;
    let mut kernel: Option<Admin<PfKey>> = None;
    for step in steps {
        // A file with faults is told of before anybody needs to be root.
        let entries = if *step == Step::Load { entries(matches)? } else { Vec::new() };
        if idle && matches!(step, Step::Load | Step::Flush) {
            continue;
        }
        let kernel = match &mut kernel {
            Some(kernel) => kernel,
            none => none.insert(Admin::new(PfKey::open()?, Dialect::native(), std::process::id())),
        };
        match step {
            Step::Flush => flush(kernel)?,
            Step::Load => failed |= !change(matches, kernel, &entries),
            Step::Show(what) => shown(matches, kernel, *what)?,
            Step::Monitor => kernel.monitor(&mut |message| line(&print::message(message)))?,
        }
    }
    match failed {
        true => Err("not everything was done".into()),
        false => Ok(()),
    }
}

/// The rules of the file, single ones.
fn entries(matches: &Matches) -> Result<Vec<Entry>, String> {
    let file = matches.opt_str("f").unwrap_or_default();
    let style = Style {
        delete: matches.opt_present("d"),
        keys: matches.opt_present("k"),
        numbers: matches.opt_count("v") > 1,
    };
    let (files, names) = (&system::SystemFiles, &system::SystemNames);
    let listing = ipsecctl::list(&file, &macros(matches)?, files, names, style);
    if listing.failed {
        listing.diagnostics.iter().for_each(|diagnostic| eprintln!("{diagnostic}"));
        return Err(format!("{file} is not right: nothing was loaded"));
    }
    if matches.opt_present("v") && !listing.output.is_empty() {
        line(listing.output.trim_end_matches('\n'))?;
    }
    if listing.others > 0 || listing.entries.iter().any(|entry| matches!(entry, Entry::Ike(_))) {
        eprintln!(
            "oakctl: {file}: ike and ikev2 rules go to no kernel: oakd(8) reads them from its own \
             configuration ({FILE}); `oakctl reload` has it do so"
        );
    }
    Ok(listing.entries)
}

fn flush(kernel: &mut Admin<PfKey>) -> Result<(), String> {
    kernel.ask(&Request::Flush(None)).map_err(|error| format!("failed to flush SAs: {error}"))?;
    if kernel.dialect().behaviour.flush_takes_flows {
        return Ok(());
    }
    kernel.ask(&Request::FlushFlows).map_err(|error| format!("failed to flush flows: {error}"))
}

/// Loads or deletes all that can be, and tells of each that could not.
fn change(matches: &Matches, kernel: &mut Admin<PfKey>, entries: &[Entry]) -> bool {
    let action = if matches.opt_present("d") { Action::Delete } else { Action::Add };
    let verb = if action == Action::Delete { "delete" } else { "add" };
    let groups = kernel.dialect().behaviour.groups;
    let mut good = true;
    for (number, entry) in entries.iter().enumerate() {
        let done =
            load::request(entry, entries, action, groups).and_then(|request| match request {
                Some(request) => kernel.ask(&request),
                None => Ok(()),
            });
        if let Err(error) = done {
            good = false;
            let rule = ipsecctl::rule(entry, &system::SystemNames);
            eprintln!("oakctl: failed to {verb} rule {number}: {error}: {rule}");
        }
    }
    good
}

fn shown(matches: &Matches, kernel: &mut Admin<PfKey>, what: What) -> Result<(), String> {
    let style = show::Style {
        keys: matches.opt_present("k"),
        collapse: matches.opt_present("c"),
        verbose: matches.opt_present("v"),
    };
    let dialect = kernel.dialect();
    let text = match what {
        What::Flows => show::flows(dialect, &kernel.dump(Dump::Flows)?, style),
        What::Sas => show::sas(dialect, &kernel.dump(Dump::Sas)?, style),
        What::All => {
            let (flows, sas) = (kernel.dump(Dump::Flows)?, kernel.dump(Dump::Sas)?);
            show::all(dialect, &flows, &sas, style)
        }
    };
    match text.trim_end_matches('\n') {
        "" => Ok(()),
        text => line(text),
    }
}
