use super::*;

#[test]
fn escaped_names_are_read() {
    let check = |name: &str, expected: &str| assert_eq!(unescape(name), expected);
    check("job", "job");
    check("U__service_2e_name", "service.name");
    check("U__a__b", "a_b");
    check("U__broken_2", "U__broken_2");
    check("U__broken_zz_", "U__broken_zz_");
    check("_x", "_x");
}
