CREATE OR REPLACE FUNCTION histogram_samples AS (histogram) -> arraySum(mapValues(histogram));

CREATE OR REPLACE FUNCTION histogram_quantile AS (histogram, q) -> if(length(histogram) = 0, NULL, arrayMap(
    bucket -> if(bucket <= 0, 0., 2 * pow(1.01 / 0.99, bucket - 1) / (1.01 / 0.99 + 1)),
    [mapKeys(histogram)[arrayFirstIndex(seen -> seen >= greatest(ceil(q * arraySum(mapValues(histogram))), 1),
    arrayCumSum(mapValues(histogram)))]])[1]);

CREATE OR REPLACE FUNCTION sketch_distinct AS (sketch, k) -> if(length(sketch) < k, toFloat64(length(sketch)),
    (k - 1) / ((toFloat64(sketch[k]) + 9223372036854775808.) / 18446744073709551616.));
