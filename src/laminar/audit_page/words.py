"""What each number of the page means, and what an audit cannot show."""

MEANING = (
    (
        "PSNR, SSIM",
        "Agreement of the magnitude image with the magnitude of the reference, the image of all samples combined "
        "with the same coil sensitivities. PSNR in dB with the maximum of the reference as data range; SSIM in 7 "
        "× 7 windows.",
    ),
    (
        "95 % interval",
        "Percentile bootstrap of the mean over the slices of this audit. It says how far the mean would move with"
        " other slices like these; it says nothing about other anatomies, scanners or masks.",
    ),
    (
        "source, cascade k",
        "The source is the image that the network starts from, before any cascade. State k is the image after k "
        "cascades.",
    ),
    (
        "implied endpoint",
        "(x − t x₁) / (1 − t): where the straight line from the source x₁ through the state x would end. t is the"
        " network's own time where it states one, else the measured time. The own endpoint is the image that a "
        "cascade says it aims at.",
    ),
    (
        "implied time t",
        "Where a state lies between the reference (0) and the source (1), by projection on the line between them."
        " In the ideal flow it is the time of the schedule. At the end it is the part of the source's error that "
        "is left.",
    ),
    ("implied step h", "1 − t after / t before: the part of the remaining way that a cascade goes."),
    (
        "line deviation",
        "Distance of a state from the straight line between source and reference, over the length of that line. "
        "Straightness is the length of the path over the distance of its ends; 1 is a straight path.",
    ),
    (
        "data residual",
        "‖A x − y‖ / ‖y‖ at the sampled points. Over the expected noise norm σ √samples a value near 1 means that"
        " the image explains the measurement as far as noise allows; far below 1, that noise was fitted. Errors "
        "of the coil sensitivities count too: the reference image itself has the value that the chart names.",
    ),
    (
        "perturbation gain",
        "A small error, white noise or a smooth bump of a thousandth of the image's size, is added to the image "
        "that a cascade receives. The gain is its size in the result over its size when added: below 1 it is "
        "damped, above 1 it grows.",
    ),
    (
        "frozen gain",
        "The gain that the coefficients alone would give if the network aimed at the same image whatever it "
        "receives: the product of 1 − step over the cascades that follow. It is zero for every discretization of "
        "a flow.",
    ),
    (
        "coefficients",
        "A network whose steps are λ_k is a discretization of a flow if and only if the last λ is 1 and every "
        "other lies strictly between 0 and 1. The implied end time t₀ is the product of all 1 − λ_k (product "
        "constraint). w_k is the implied ratio of the noise variance to the variance of the image given the "
        "state.",
    ),
)

LIMITS = (
    "Every number is about the slices, masks and noise of this audit and about nothing else.",
    "PSNR and SSIM are no measure of diagnostic value. Small structures can vanish or appear while both stay high.",
    "The reference of a measured scan holds noise and the errors of its own sensitivities; the undersampling is "
    "retrospective.",
    "That a network behaves as a discretized flow explains its intermediate images. It does not prove that its "
    "result is right, and a network that does not may still give good images.",
    "Perturbation gains are measured at one size, in one random and one smooth direction: they are no bound "
    "on the worst case.",
    "What the network does not offer is reported as not offered, and was not guessed.",
)

SIMULATED = (
    "All slices of this audit are simulated: random procedural phantoms with simulated coils and noise. They show"
    " how the network works from cascade to cascade; they are no evidence of its quality on measured scans or on "
    "patients."
)
MEASURED = (
    "The slices are fully sampled scans from the files named below, undersampled retrospectively; what their "
    "reference images contain, noise included, counts as the truth."
)
