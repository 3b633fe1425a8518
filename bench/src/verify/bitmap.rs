//! A growing set of small numbers, one bit each: a hundred million sequences are 12 MB.

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    /// `false` if the number was in the set already.
    pub fn insert(&mut self, number: u64) -> bool {
        let (word, bit) = place(number);
        if word >= self.words.len() {
            self.words.resize((word + 1).max(self.words.len() * 2), 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        new
    }

    pub fn len(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// How many numbers below `bound` are in the set.
    pub fn len_below(&self, bound: u64) -> u64 {
        let (word, bit) = place(bound);
        let whole: u64 = self.words.iter().take(word).map(|word| u64::from(word.count_ones())).sum();
        whole + self.words.get(word).map_or(0, |bits| u64::from((bits & (bit - 1)).count_ones()))
    }

    /// How many numbers are in `self` and not in `other`.
    pub fn count_missing_in(&self, other: &Bitmap) -> u64 {
        let theirs = other.words.iter().copied().chain(std::iter::repeat(0));
        self.words.iter().zip(theirs).map(|(mine, their)| u64::from((mine & !their).count_ones())).sum()
    }

    /// Takes `other` in and returns how many numbers were in both.
    pub fn merge(&mut self, other: &Bitmap) -> u64 {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        let mut both = 0;
        for (mine, their) in self.words.iter_mut().zip(&other.words) {
            both += u64::from((*mine & their).count_ones());
            *mine |= their;
        }
        both
    }
}

fn place(number: u64) -> (usize, u64) {
    let word = usize::try_from(number / 64).expect("BUG: more sequences than memory has bits");
    (word, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[u64]) -> Bitmap {
        let mut bitmap = Bitmap::default();
        numbers.iter().for_each(|&number| assert!(bitmap.insert(number)));
        bitmap
    }

    #[test]
    fn a_number_is_inserted_once() {
        let mut bitmap = of(&[0, 63, 64, 1000]);
        assert!(!bitmap.insert(64));
        assert_eq!(bitmap.len(), 4);
        assert_eq!([0, 1, 64, 65, 1000, 1001, 1 << 40].map(|n| bitmap.len_below(n)), [0, 1, 2, 3, 3, 4, 4]);
    }

    #[test]
    fn differences_and_overlaps_are_counted_whatever_the_lengths() {
        let (short, long) = (of(&[1, 2, 3]), of(&[3, 700]));
        assert_eq!((short.count_missing_in(&long), long.count_missing_in(&short)), (2, 1));
        let (mut a, mut b) = (short.clone(), long.clone());
        assert_eq!((a.merge(&long), b.merge(&short)), (1, 1));
        assert_eq!((a.len(), b.len()), (4, 4));
    }
}
