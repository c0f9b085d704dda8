"""Word2vec, fast: the same objectives and losses as `Word2Vec` in stages/embeddings.py, in matrix products.

Read stages/embeddings.py first: it is the reference, one prediction at a time with autograd. Here P
neighbouring positions are a block, whose predictions are one matrix product with a mask; some blocks are a
group, which shares its noise words; S blocks are a step, with gradients written out; and the steps that a
worker, one thread, takes on copies of the rows in use are a round. After a round the workers' changes are
added to the tables in the order of the workers, so a run is deterministic.

Tests that compare with the reference: test_blocks_make_the_predictions_of_the_reference and
test_gradients_equal_autograd_of_the_reference in tests/test_word2vec.py,
test_both_engines_reach_the_same_loss in tests/test_embeddings.py.

The files, in reading order:

    settings    the parameters, the constants (`EngineSettings`), and the schedule that they give for a text
    stream      documents read from disk, subsampled, given windows, cut into rounds; resumable anywhere
    noise       the noise distribution, and the noise words of groups
    rows        lookup and scaling of rows
    blocks      blocks, and both objectives as batched predictions
    steps       blocks with their noise words and scales; a round divided into steps
    gradients   both losses with gradients written out; the SGD step
    capture     steps recorded once and replayed without Python (torch.jit.trace, CUDA graphs)
    tables      the input vectors, of words alone or with character n-grams; pretrained vectors
    workers     rounds on copies of rows, and the merge of the workers
    trainer     the loop: learning rate, loss curve, checkpoints

The losses are the paper's. The optimiser is not plain SGD. The engine adds exactly these four to the
algorithm of Mikolov et al. 2013; the appendix of benchmarks/embeddings.md has the measurements (WS-353,
SimLex-999 and analogies, on Wikipedia unless stated otherwise):

1.  Damping (`EngineSettings.damping`, -0.25): the summed gradient of an input row that occurs n times in a
    step is multiplied by n ** -0.25, since the n gradients are computed from the same row and their sum
    overshoots. On a third of the text 0.595, 0.252, 0.154 at a learning rate of 0.03, instead of 0.567,
    0.255, 0.131 at 0.025 without damping. With character n-grams the change of an n-gram that n words of a
    round share is multiplied by n ** -0.5 (`char_ngram_damping`).
    Test: test_inputs_are_damped_by_their_count_in_a_step.

2.  Cap (`EngineSettings.max_row_gradients`, 16): a row takes the weight of at most 16 gradients per step,
    and of at most 8 per worker if there are several or the text is short. With two threads 0.659, 0.316,
    0.312 instead of 0.648, 0.310, 0.336 with a cap of 64. Test: test_outputs_are_capped_and_not_damped.

3.  Shared noise (`EngineSettings.noise`, `noise_short_text`): a group of 4 blocks shares 32 noise words with
    skip-gram and 16 with CBOW, weighted so that the expected gradient is that of K words drawn per
    prediction. With skip-gram 872,000 words per second and thread, instead of 600,000 with 48 words for each
    block; agreement is the same within the noise of seeds, except for analogies (0.174 instead of 0.192).
    Test: test_shared_noise_has_the_expected_gradient_of_noise_per_prediction.

4.  Averaging (`EngineSettings.average_from`, 16): the workers' changes of a row that occurs more often than
    about 16 times in a round are averaged rather than added. More than two workers have shorter rounds,
    because vectors get worse with the text between two merges; `schedule` in settings limits their number.
    On the full text, together with longer steps, 0.648, 0.310, 0.336 instead of 0.644, 0.295, 0.348.
    Test: test_changes_of_workers_are_added_for_rare_rows_and_averaged_for_frequent_rows.
"""
