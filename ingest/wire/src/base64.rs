//! Base64 with padding, RFC 4648 section 4.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Adds the digits of `bytes`.
///
/// ```
/// let mut text = "Basic ".to_owned();
/// foreshock_wire::base64::put(&mut text, b"user:password");
/// assert_eq!(text, "Basic dXNlcjpwYXNzd29yZA==");
/// ```
pub fn put(out: &mut String, bytes: &[u8]) {
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .enumerate()
            .fold(0_u32, |bits, (i, b)| bits | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            out.push(if i <= three.len() {
                char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63])
            } else {
                '='
            });
        }
    }
}
