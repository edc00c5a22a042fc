"""The map of the codes by t-SNE, coloured by cluster."""

from l2ae_core.figures import class_maps, project
from l2ae_core.gallery import Gallery
from l2ae_core.progress import Bar
from l2ae_core.report.markup import Markup, element, figure, grid
from l2ae_core.report.pictures import svg
from l2ae_core.tables import counted

FEWEST = 10  # codes of a map


def code_map(gallery: Gallery, seed: int, progress: bool) -> list[Markup]:
    """The codes that the gallery keeps, in 2-D; nothing where they are too few or all equal."""
    codes, N = gallery.codes, len(gallery)
    S, D = codes.shape
    if S < FEWEST or D < 2 or (codes == codes[0]).all():
        return []
    points, how = codes, "two numbers each"
    if D > 2:
        how = "drawn in 2-D by t-SNE"
        with Bar(total=1, desc="map of the codes", disable=not progress) as bar:
            points = project(codes, seed=seed)
            bar.update()
    told = f"map of the codes of {counted(S, 'image')}, coloured by cluster"
    drawn = class_maps({"map": points}, gallery.labels[gallery.sample])
    caption = (
        f"The codes of {f'{S:,} of the ' if S < N else 'the '}{N:,} images, {how}. Colours and "
        "numbers are the clusters; the axes have no unit, and distances between groups mean "
        "little."
    )
    panel = element("div", svg(drawn, "code-map", told), class_="panel")
    return [figure(grid([panel], "large"), caption=caption)]
