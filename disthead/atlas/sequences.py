"""Likelihoods of sequences of labels."""

from disthead.atlas.loss import Loss

LOSSES = [
    Loss(
        name="ctc",
        kind="likelihood",
        synonyms=("connectionist temporal classification", "ctc_loss"),
        assumption="The labels stand in the input in their order, at places that are not known; "
        "given the input, the outcomes of its frames are independent, and one outcome, the blank, "
        "is no label.",
        formula="-log(sum over paths that merge to y of prod_t softmax(logits_t)[path_t])",
        family="The distribution CTC over label sequences, logits predicted for each frame.",
        estimated="The probability of each label sequence; best_path() and beam_search(width) "
        "decode it.",
        gradient="softmax minus the share of all alignments that have the outcome at the frame, "
        "from -1 to 1.",
        robustness="A wrong label costs about what its best alignment costs; the gradient of each "
        "frame is bounded.",
        calibration="Strictly proper for the label sequence. The single frames are not calibrated: "
        "labels come in peaks between blanks.",
        breaks="A target needs more frames than its input has (one per label, one more between "
        "equal neighbours); labels depend on each other beyond what the input says; the order of "
        "labels and input differs.",
        remedy="Less downsampling for long targets; an autoregressive model with "
        "sequence_cross_entropy where labels depend on each other.",
        pytorch="torch.nn.functional.ctc_loss(log_probs, targets, input_lengths, target_lengths, "
        "reduction='none')",
        source="Graves and others 2006",
    ),
    Loss(
        name="crf",
        kind="likelihood",
        synonyms=("conditional random field", "linear-chain crf", "structured log loss"),
        assumption="Each position has one label, which depends, given the input, on the labels of "
        "its two neighbours alone.",
        formula="log(sum over label sequences of exp(score)) - score(y), where score(y) is the sum "
        "of emissions_t[y_t], transitions[y_t, y_{t+1}], start[y_1] and end[y_T]",
        family="The distribution LinearChain over label sequences; emissions predicted for each "
        "position, transitions learned (LinearChainHead).",
        estimated="The joint probability of the labels; mode is the best sequence (Viterbi), "
        "marginal_probs the probability of each label at each position.",
        gradient="The expected number of each label and transition minus that of the target.",
        robustness="A wrong label moves the scores of its neighbours, too; the gradient of each "
        "score is bounded.",
        calibration="Strictly proper for the whole sequence.",
        breaks="Labels depend on others far away; there are so many labels that a table of all "
        "pairs is too large (the cost grows with their square).",
        remedy="A network that looks farther, for the emissions; sequence_cross_entropy of an "
        "autoregressive model.",
        source="Lafferty and others 2001",
    ),
    Loss(
        name="sequence_cross_entropy",
        kind="likelihood",
        synonyms=("language modelling loss", "teacher forcing", "token cross-entropy"),
        assumption="The label of each position has the predicted distribution, given the input and "
        "all labels before it; padded positions say nothing.",
        formula="-sum over t with y_t != ignore_index of log p_t(y_t)",
        family="categorical, one for each position, logits predicted.",
        estimated="The probability of the next label, and by the chain rule that of the sequence.",
        gradient="softmax minus one-hot at each position that counts, from -1 to 1.",
        robustness="A wrong label costs the more the surer the model is; the gradient is bounded.",
        calibration="Strictly proper with the true labels before each position; sequences that the "
        "model continues by itself are judged only in part (exposure bias).",
        breaks="Long rows rule the mean over rows; padding that is not marked counts as a label.",
        remedy="The mean over tokens (loss with reduction='sum' over their number), and "
        "ignore_index for the padding. crf or ctc where a position is no label after the other.",
        pytorch="torch.nn.functional.cross_entropy(logits.transpose(1, 2), y, ignore_index=-100, "
        "reduction='none').sum(-1)",
        source="Jelinek and others 1977",
    ),
]
