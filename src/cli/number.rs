//! Decimal numbers in arguments and variables.

/// The decimal number below 2^32 that a text begins with, 0 if there is no digit, and what lies
/// behind it; that begins with a digit if the number would be larger.
pub fn leading(text: &[u8]) -> (u32, &[u8]) {
    let (mut number, mut rest) = (0_u32, text);
    while let [digit @ b'0'..=b'9', behind @ ..] = rest {
        let longer = number.checked_mul(10).and_then(|n| n.checked_add((digit - b'0').into()));
        let Some(longer) = longer else { break };
        (number, rest) = (longer, behind);
    }
    (number, rest)
}

/// The decimal number below 2^32 that a text is, if it is nothing else.
pub fn whole(text: &[u8]) -> Option<u32> {
    match leading(text) {
        (number, []) if !text.is_empty() => Some(number),
        _ => None,
    }
}
