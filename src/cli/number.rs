//! Decimal numbers in arguments and variables.

/// Removes the decimal number below 2^32 at the start of `text` and returns it; 0 if there is no digit.
/// It stops before the digit that would make the number too large.
pub fn take(text: &mut &[u8]) -> u32 {
    let mut number = 0_u32;
    while let [digit @ b'0'..=b'9', behind @ ..] = *text {
        let longer = u64::from(number) * 10 + u64::from(digit - b'0');
        let Ok(longer) = u32::try_from(longer) else { break };
        (number, *text) = (longer, behind);
    }
    number
}

/// Parses all of `text` as a decimal number below 2^32.
pub fn whole(text: &[u8]) -> Option<u32> {
    let mut rest = text;
    let number = take(&mut rest);
    if rest.is_empty() && !text.is_empty() { Some(number) } else { None }
}
