//! Distinguished names as iked.conf(5) writes them, `/C=DE/O=Example/CN=gw.example.org`, and as
//! they go on the wire (DER, RFC 5280 section 4.1.2.4).

use openssl::x509::{X509NameBuilder, X509NameRef};

use crate::wire::dn;

/// The most attributes of a name.
const ATTRIBUTE_LIMIT: usize = 32;

/// The DER of a name. A backslash before a slash makes it part of a value.
///
/// # Errors
///
/// What is wrong with it, as a sentence.
pub fn parse(text: &str) -> Result<Vec<u8>, String> {
    let rest = text.strip_prefix('/').ok_or("a distinguished name begins with a slash")?;
    let parts = parts(rest);
    if parts.len() > ATTRIBUTE_LIMIT {
        return Err(format!("a distinguished name of more than {ATTRIBUTE_LIMIT} attributes"));
    }
    let library = |_| "the name cannot be encoded".to_owned();
    let mut name = X509NameBuilder::new().map_err(library)?;
    for part in parts {
        let (field, value) = part
            .split_once('=')
            .filter(|(field, value)| !field.is_empty() && !value.is_empty())
            .ok_or_else(|| {
                format!("\"{part}\" is not of the form NAME=VALUE, as in /C=DE/CN=gw")
            })?;
        name.append_entry_by_text(field, value).map_err(|_| {
            format!(
                "\"{part}\" is no attribute of a distinguished name (C, ST, L, O, OU, CN, \
                     emailAddress, ...), or its value does not fit"
            )
        })?;
    }
    name.build().to_der().map_err(library)
}

/// A name as text.
pub fn text(name: &X509NameRef) -> String {
    let mut text = String::new();
    for entry in name.entries() {
        let field = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().to_string().unwrap_or_default();
        dn::write(&mut text, field, &value);
    }
    text
}

/// The parts between slashes that have no backslash before them.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, parts.last_mut()) {
            ('/', _) => parts.push(String::new()),
            ('\\', Some(part)) => part.extend(characters.next()),
            (c, Some(part)) => part.push(c),
            (_, None) => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dn::print;

    #[test]
    fn there_and_back() {
        for text in ["/C=DE/O=Example/CN=gw.example.org", "/CN=a\\/b/emailAddress=x@example.org"] {
            assert_eq!(print(&parse(text).unwrap()).as_deref(), Some(text));
        }
        let der = parse("/C=DE/CN=gw").unwrap();
        assert_eq!(der[..2], [0x30, 26]);
    }

    #[test]
    fn wrong_names() {
        for text in ["CN=x", "/", "/CN", "/CN=", "/NOSUCH=x", "/C=GERMANY"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
