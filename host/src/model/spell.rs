//! "Did you mean …?"

/// The candidate that is spelled most alike, if any is near enough to be meant: one slip, or one in three letters.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(slips, candidate)| *slips <= 1.max(candidate.chars().count().min(word.chars().count()) / 3))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}
