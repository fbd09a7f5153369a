# SPDX-License-Identifier: Apache-2.0
"""Upper limits by root finding, for tools that have no function for them that works."""
import math


def upper_limits(test, upper, level=0.05):
    """Observed limit and the five expected ones. `test(mu)` is CLs and its band: the tests are
    shared between the six curves. In ln CLs, which is closer to a straight line."""
    tests = {}

    def curve(mu, which):
        if mu not in tests:
            tests[mu] = test(mu)
        value = tests[mu][which]
        return math.log(max(value, 1e-300) / level) if value == value else math.nan

    roots = []
    for which in range(6):
        low = min(tests, default=1e-2 * upper)
        while curve(low, which) < 0.0 and low > 1e-6:
            low *= 0.25
        curve(upper, which)
        low = max((mu for mu in tests if curve(mu, which) > 0.0), default=low)
        high = min((mu for mu in tests if mu > low and curve(mu, which) <= 0.0), default=upper)
        roots.append(illinois(lambda mu: curve(mu, which), low, high))
    return {"observed": roots[0], "expected": roots[1:], "tests": len(tests)}


def illinois(function, low, high, relative=1e-4):
    """Root of a function that changes its sign, or NaN."""
    at_low, at_high = function(low), function(high)
    if not at_low * at_high <= 0.0:
        return math.nan
    for _ in range(60):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        here = function(middle)
        moved = abs(middle - high)
        if here * at_high < 0.0:
            low, at_low = high, at_high
        else:
            at_low *= 0.5
        high, at_high = middle, here
        if here == 0.0 or min(abs(high - low), moved) < relative * abs(high):
            break
    return high
