"""How the names of image files end, in small letters."""

FITS_ENDINGS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz")
IMAGE_ENDINGS = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".jfi"),
        *(".png", ".webp", ".gif", ".bmp", ".dib", ".avif"),
        *(".tif", ".tiff", ".btf", ".tf8"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
        *(".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c"),
        *FITS_ENDINGS,
    )
)
