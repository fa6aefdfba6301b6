//! Turns a slice that a short-lived message reader handed out into one that lives as long as the message's bytes.

use core::ops::Range;

/// Where `inner` stands within `outer`, or `None` if it is not part of it. An empty slice stands anywhere.
fn range_within(outer: &[u8], inner: &[u8]) -> Option<Range<usize>> {
    if inner.is_empty() {
        return Some(0..0);
    }
    let start = inner.as_ptr().addr().checked_sub(outer.as_ptr().addr())?;
    let end = start.checked_add(inner.len())?;
    (end <= outer.len()).then_some(start..end)
}

/// `inner` with the lifetime of `outer`, of which it is a part.
pub fn rebind<'a>(outer: &'a [u8], inner: &[u8]) -> Option<&'a [u8]> {
    outer.get(range_within(outer, inner)?)
}

#[cfg(test)]
mod tests {
    use super::rebind;

    #[test]
    fn a_part_is_found_and_a_stranger_is_not() {
        let outer = [1, 2, 3, 4];
        assert_eq!(rebind(&outer, &outer[1..3]), Some(&outer[1..3]));
        assert_eq!(rebind(&outer[..2], &outer[1..3]), None);
        assert_eq!(rebind(&outer[2..], &outer[..1]), None);
        assert_eq!(rebind(&outer, &[]), Some(&outer[..0]));
    }
}
