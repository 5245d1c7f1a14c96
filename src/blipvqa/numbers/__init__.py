"""Statistics of any counted thing; nothing here knows what was counted. In reading order:

- `measures`: a measure as a function of column sums, and a collection of them
- `bleu`: BLEU, the measure of written texts that is no mean, as a function of column sums
- `grouping`: rows by what they share
- `bootstrap`: 95 % intervals, by drawing groups of rows with replacement
- `few_groups`: intervals that hold where groups are few
- `spread`: mean and spread of a number over seeds
- `classes`: macro F1 over classes
- `comparison`: which differences between two matrices of counts are real, one by one and of many
- `calibration`: whether a stated probability can be believed, and the fit that repairs it
- `nearest`: the best candidates of each query by cosine, in blocks
- `ranks`: retrieval: where the first right candidate of a query stands, and what chance alone would give
- `conformal`: thresholds that cover, over groups of rows
- `outliers`: how far a vector lies from a sample
- `ranking`: how well a score puts right before wrong
- `hamming`: all pairs of codes that differ in few bits
- `thresholds`: thresholds that one set of rows chooses and another tests
- `blind`: what texts alone give away
- `shrinkage`: many shares without the luck of each
- `gaps`: how far two levels of a column differ
"""
