"""Line plots with intervals as SVG: what the learning tests show, without a plotting library."""

import math
from xml.sax.saxutils import escape

COLOURS = ["#000000", "#e69f00", "#56b4e9", "#009e73", "#b8a800", "#0072b2", "#d55e00", "#cc79a7", "#777777", "#8c564b"]
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 800, 460, 70, 40, 170, 50


def ticks(low, high):
    """Multiples of 1, 2 or 5 times a power of ten between the two, four to nine of them."""
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(factor * power for factor in (5, 2, 1) if (high - low) / (factor * power) >= 4)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def lines(title, x_label, y_label, xs, series):
    """The text of a plot. series: {name: [(mean, half width of the interval)]}, a point for each of xs."""
    ends = [mean + sign * (0 if math.isnan(width) else width)
            for points in series.values() for mean, width in points for sign in (-1, 1)]
    low, high = min(ends), max(ends)
    low, high = low - 0.03 * (high - low), high + 0.03 * (high - low)
    margin = 0.03 * (xs[-1] - xs[0])

    def x_of(x):
        return LEFT + (x - xs[0] + margin) / (xs[-1] - xs[0] + 2 * margin) * (WIDTH - LEFT - RIGHT)

    def y_of(y):
        return HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def text(x, y, words, options=""):
        return f'<text x="{x:.1f}" y="{y:.1f}" {options}>{escape(words)}</text>'

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
             f'font-size="12">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             text(LEFT, 22, title, 'font-size="14"'),
             text((WIDTH - RIGHT + LEFT) / 2, HEIGHT - 12, x_label, 'text-anchor="middle"'),
             text(16, (HEIGHT - BOTTOM + TOP) / 2, y_label,
                  f'text-anchor="middle" transform="rotate(-90 16 {(HEIGHT - BOTTOM + TOP) / 2:.1f})"')]
    for y in ticks(low, high):
        parts.append(f'<path d="M{LEFT} {y_of(y):.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        parts.append(text(LEFT - 6, y_of(y) + 4, f"{y:g}", 'text-anchor="end"'))
    for x in xs:
        parts.append(text(x_of(x), HEIGHT - BOTTOM + 18, f"{x:g}", 'text-anchor="middle"'))
    parts.append(f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="black"/>')
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        shift = (number - (len(series) - 1) / 2) * 2.5  # so that intervals stand side by side
        path = " ".join(f"{x_of(x) + shift:.1f},{y_of(mean):.1f}" for x, (mean, _) in zip(xs, points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        for x, (mean, width) in zip(xs, points):
            if not math.isnan(width):
                parts.append(f'<path d="M{x_of(x) + shift:.1f} {y_of(mean - width):.1f}V{y_of(mean + width):.1f}" '
                             f'stroke="{colour}"/>')
        y = TOP + 18 * number
        parts.append(f'<path d="M{WIDTH - RIGHT + 14} {y}h22" stroke="{colour}" stroke-width="3"/>')
        parts.append(text(WIDTH - RIGHT + 42, y + 4, name))
    return "\n".join(parts + ["</svg>"]) + "\n"
