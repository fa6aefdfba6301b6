//! The sieve of Eratosthenes over one segment of the numbers.

/// Numbers of a segment.
const LENGTH: usize = 32_768;

/// How many primes the segment with this number has.
pub fn primes(segment: u64) -> u64 {
    let first = segment * LENGTH as u64;
    let end = first + LENGTH as u64;
    let mut composite = [false; LENGTH];
    let mut divisor = 2;
    while divisor * divisor < end {
        let multiple = first.next_multiple_of(divisor).max(divisor * divisor);
        let marked = composite.iter_mut().skip((multiple - first) as usize).step_by(divisor as usize);
        marked.for_each(|place| *place = true);
        divisor += 1;
    }
    let numbers = composite.iter().zip(first..);
    numbers.filter(|(composite, number)| !**composite && *number >= 2).count() as u64
}
