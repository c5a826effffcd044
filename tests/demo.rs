//! The demonstration, from a birth to an assigned benefit, without a terminal.

use std::process::Command;

#[test]
fn a_family_is_followed_from_a_birth_to_its_assigned_benefit() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_shanyraq"));
    let output = demo.args(["demo", "--persons", "2000", "--days", "20", "--speed", "1000"]).output().expect("the program starts");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    let mut rest = &*text;
    for step in ["the baseline", "birth registered", "gained: Large-family allowance", "text: 1414", "she answers: 1", "assigned by the agency", "days in"] {
        let at = rest.find(step).unwrap_or_else(|| panic!("no `{step}` where it should be in\n{text}"));
        rest = &rest[at..];
    }
    assert!(!text.contains('\x1b'), "no colours and no cursor movements without a terminal");
}
