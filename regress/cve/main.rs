//! The field's past vulnerabilities, a case each.
