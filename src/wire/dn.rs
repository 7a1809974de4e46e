//! Distinguished names (RFC 5280 §4.1.2.4) as people write them, and which are the same.

use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

/// The attributes that are written by a short name, as openssl(1) and iked.conf(5) do.
const SHORT: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// Calls with each attribute: its number in words, its text, and whether it begins a part of the name.
fn each(der: &[u8], mut told: impl FnMut(String, &str, bool)) -> Option<()> {
    let Ok(([], name)) = X509Name::from_der(der) else { return None };
    for part in name.iter_rdn() {
        for (at, attribute) in part.iter().enumerate() {
            told(attribute.attr_type().to_id_string(), attribute.as_str().ok()?, at == 0);
        }
    }
    Some(())
}

/// A name as text, `/C=DE/O=Example/CN=gw.example.org`; `None` if it is not one, or has other strings than text.
pub fn print(der: &[u8]) -> Option<String> {
    let mut text = String::new();
    each(der, |number, value, _| {
        let short = SHORT.iter().find(|(it, _)| *it == number).map(|(_, short)| *short);
        write(&mut text, short.unwrap_or(&number), value);
    })?;
    Some(text)
}

/// Writes one attribute of a name behind those that stand there: `/NAME=VALUE`, a slash within the value behind a
/// backslash.
pub fn write(text: &mut String, name: &str, value: &str) {
    text.push('/');
    text.push_str(name);
    text.push('=');
    for c in value.chars() {
        if matches!(c, '/' | '\\') {
            text.push('\\');
        }
        text.push(if c.is_control() { '\u{fffd}' } else { c });
    }
}

/// Octets that are alike for all names which are the same (RFC 5280 §7.1): of whatever type their strings are,
/// without regard to case and to the number of blanks. `None` as in [`print`].
pub fn folded(der: &[u8]) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut put = |text: &str| {
        octets.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        octets.extend(text.as_bytes());
    };
    each(der, |number, value, begins| {
        let words: Vec<_> = value.split_whitespace().collect();
        put(if begins { "/" } else { "+" });
        put(&number);
        put(&words.join(" ").to_lowercase());
    })?;
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/C=DE/O=…/CN=gw`, where O is of this type.
    fn name(string_type: u8, o: &[u8]) -> Vec<u8> {
        let attribute = |number: u8, tag: u8, value: &[u8]| {
            let len = |extra: usize| u8::try_from(value.len() + extra).unwrap();
            let head = [0x31, len(9), 0x30, len(7), 0x06, 3, 0x55, 4, number, tag, len(0)];
            [&head[..], value].concat()
        };
        let parts =
            [attribute(6, 0x13, b"DE"), attribute(10, string_type, o), attribute(3, 0x0c, b"gw")];
        let parts = parts.concat();
        [&[0x30, u8::try_from(parts.len()).unwrap()], &parts[..]].concat()
    }

    #[test]
    fn names_are_text() {
        assert_eq!(print(&name(0x0c, b"Ex/ample")).as_deref(), Some("/C=DE/O=Ex\\/ample/CN=gw"));
        assert_eq!(print(&name(0x0c, b"a\nb")).as_deref(), Some("/C=DE/O=a\u{fffd}b/CN=gw"));
        assert_eq!(print(b"/C=DE"), None);
    }

    #[test]
    fn the_type_of_a_string_its_case_and_its_blanks_make_no_other_name() {
        let one = folded(&name(0x0c, b"An Example"));
        assert!(one.is_some());
        assert_eq!(one, folded(&name(0x13, b" an  EXAMPLE")));
        for other in [&b"An Exampl"[..], b"An\0Example", b"An Example\0", b"AnExample"] {
            assert_ne!(one, folded(&name(0x0c, other)), "{other:?}");
        }
        // What is no text is compared as it is.
        assert_eq!(folded(&name(0x1e, b"\0A\0n")), None);
        let longer = [&name(0x0c, b"An Example")[..], b"more"].concat();
        assert_eq!(folded(&longer), None);
    }
}
