/* Written by `make tables` from each family's log_prob_and_grad: the value, and the derivatives by
the parameters (by the logarithms of the positive ones); y_low is what single precision
leaves of y. */

#if IS_SINGLE

INLINE float Normal_float(float y, float y_low, float loc, float scale, float log_scale, float
    *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float one_by_scale = 1 / scale;
    const float v2 = (y - loc + y_low) * one_by_scale;
    const float v3 = v2 * v2;
    slopes[0] = v2 * one_by_scale;
    slopes[1] = v3 - 1;
    return (-0.9189385332046727f) - log_scale - v3 * 0.5f;
}

INLINE float Laplace_float(float y, float y_low, float loc, float scale, float log_scale, float
    *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float one_by_scale = 1 / scale;
    const float v2 = (y - loc + y_low) * one_by_scale;
    const float v3 = fabsf(v2);
    slopes[0] = sign__float(v2) * one_by_scale;
    slopes[1] = v3 - 1;
    return (-0.6931471805599453f) - log_scale - v3;
}

INLINE float StudentT_float(float y, float y_low, float df, float loc, float scale, float log_scale,
    float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v2 = (y - loc + y_low) / scale;
    const float v3 = df * 0.5f;
    const float v5 = v2 * v2 / df;
    const float v6 = LOG1P(v5);
    const float v7 = v5 + 1;
    const float v8 = v5 / v7;
    const float v9 = df + 1;
    const float v13 = (v3 * 0.03736131382300594f + 0.09008998188527516f) * v3 +
        0.06830988618379068f;
    const float v17 = (v3 * 1.194681403583262f + 3.1905798459804005f) * v3 + 3.03833646462278f;
    const float v19 = v17 * v3 + 1;
    const float v25 = (v3 * 3.584044210749786f + 6.381159691960801f) * v3 + 3.03833646462278f;
    const float one_by_v19 = 1 / v19;
    const float v26 = v13 * one_by_v19;
    const float v28 = v3 * 0.07472262764601188f + 0.09008998188527516f - v26 * v25;
    const float v31 = v3 + 0.25f + v26;
    const float v39 = (LOG(v31 / v3) + v9 * v6) * (-0.5f) - log_scale - 0.9189385332046727f;
    const float v47 = v3 * (v8 - v6 - (v28 * one_by_v19 + 1) * 0.5f / v31) + 0.5f + v8 * 0.5f;
    slopes[0] = v47;
    slopes[1] = v9 * v2 / (v7 * df * scale);
    slopes[2] = v9 * v8 - 1;
    return v39;
}

INLINE float Exponential_float(float y, float y_low, float rate, float log_rate, float *slopes,
    uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = rate * y;
    slopes[0] = 1 - v1;
    return log_rate - v1;
}

INLINE float Gamma_float(float y, float y_low, float concentration, float log_concentration, float
    rate, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = rate * y;
    const float v2 = concentration + 0.5f;
    const float v4 = LOG(v1 / v2);
    const float v10 = concentration * (-0.059857205921064145f) - 0.11938844095410837f;
    const float v15 = (concentration * 1.4365711803780448f + 3.5837345187043734f) * concentration;
    const float v19 = (v10 * concentration - 0.07236494292470008f) / ((v15 + 3.2518377950942923f) *
        concentration + 1);
    const float v26 = log_concentration + concentration * v4 + (v2 - v1) - v19 - (LOG(y) + LOG(v2) *
        0.5f + 0.9189385332046727f);
    const float v31 = (concentration * 2.3854313977361117f + 5.110746590596114f) * concentration;
    const float v35 = (concentration * 0.09906583664163492f + 0.11593151565841245f) / ((v31 +
        3.917450204729086f) * concentration + 1);
    slopes[0] = concentration * (v4 - v35) + 1;
    slopes[1] = concentration - v1;
    return v26;
}

INLINE float MeanGamma_float(float y, float y_low, float mean, float concentration, float
    log_concentration, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v2 = concentration / mean * y;
    const float v3 = concentration + 0.5f;
    const float v5 = LOG(v2 / v3);
    const float v11 = concentration * (-0.059857205921064145f) - 0.11938844095410837f;
    const float v16 = (concentration * 1.4365711803780448f + 3.5837345187043734f) * concentration;
    const float v20 = (v11 * concentration - 0.07236494292470008f) / ((v16 + 3.2518377950942923f) *
        concentration + 1);
    const float v27 = log_concentration + concentration * v5 + (v3 - v2) - v20 - (LOG(y) + LOG(v3) *
        0.5f + 0.9189385332046727f);
    const float v32 = (concentration * 2.3854313977361117f + 5.110746590596114f) * concentration;
    const float v36 = (concentration * 0.09906583664163492f + 0.11593151565841245f) / ((v32 +
        3.917450204729086f) * concentration + 1);
    const float v40 = concentration - v2;
    slopes[0] = -v40;
    slopes[1] = concentration * (v5 - v36) + 1 + v40;
    return v27;
}

INLINE float Beta_float(float y, float y_low, float concentration1, float log_concentration1, float
    concentration0, float log_concentration0, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = (1 - y - y_low);
    const float v2 = concentration1 + concentration0;
    const float v3 = concentration1 + 0.5f;
    const float v4 = concentration0 + 0.5f;
    const float v5 = v2 + 0.5f;
    const float v8 = LOG(v5 * y / v3);
    const float v11 = LOG(v5 * v1 / v4);
    const float v18 = concentration1 * v8 + concentration0 * v11 + (v3 + v4 - v5) -
        0.9189385332046727f;
    const float v27 = LOG(v5 / (v3 * v4)) * 0.5f - LOG(v2 * y * v1) + log_concentration1;
    const float v33 = (v2 * (-0.059857205921064145f) - 0.11938844095410837f) * v2 -
        0.07236494292470008f;
    const float v37 = (v2 * 1.4365711803780448f + 3.5837345187043734f) * v2 + 3.2518377950942923f;
    const float v42 = concentration1 * (-0.059857205921064145f) - 0.11938844095410837f;
    const float v47 = (concentration1 * 1.4365711803780448f + 3.5837345187043734f) * concentration1;
    const float v51 = (v42 * concentration1 - 0.07236494292470008f) / ((v47 + 3.2518377950942923f) *
        concentration1 + 1);
    const float v54 = concentration0 * (-0.059857205921064145f) - 0.11938844095410837f;
    const float v59 = (concentration0 * 1.4365711803780448f + 3.5837345187043734f) * concentration0;
    const float v63 = (v54 * concentration0 - 0.07236494292470008f) / ((v59 + 3.2518377950942923f) *
        concentration0 + 1);
    const float v65 = v18 + (v27 + log_concentration0) + (v33 / (v37 * v2 + 1) - v51 - v63);
    const float v71 = (v2 * 2.3854313977361117f + 5.110746590596114f) * v2 + 3.917450204729086f;
    const float v74 = (v2 * 0.09906583664163492f + 0.11593151565841245f) / (v71 * v2 + 1);
    const float v76 = v74 - 1 / v2;
    const float v78 = concentration1 * 0.09906583664163492f + 0.11593151565841245f;
    const float v81 = (concentration1 * 2.3854313977361117f + 5.110746590596114f) * concentration1;
    const float v86 = v8 - v78 / ((v81 + 3.917450204729086f) * concentration1 + 1);
    const float v88 = concentration0 * 0.09906583664163492f + 0.11593151565841245f;
    const float v91 = (concentration0 * 2.3854313977361117f + 5.110746590596114f) * concentration0;
    const float v96 = v11 - v88 / ((v91 + 3.917450204729086f) * concentration0 + 1);
    slopes[0] = concentration1 * (v86 + v76) + 1;
    slopes[1] = concentration0 * (v96 + v76) + 1;
    return v65;
}

INLINE float MeanBeta_float(float y, float y_low, float mean, float precision, float *slopes,
    uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v3 = EXP(-fabsf(mean));
    const float v5 = 1 / (v3 + 1);
    const float v6 = v3 * v5;
    const int v7 = mean < 0;
    const float v8 = (v7 ? v6 : v5);
    const float v9 = (v7 ? v5 : v6);
    const float v10 = precision * v8;
    const float v11 = precision * v9;
    const float v12 = (1 - y - y_low);
    const float v13 = v10 + v11;
    const float v14 = v10 + 0.5f;
    const float v15 = v11 + 0.5f;
    const float v16 = v13 + 0.5f;
    const float v19 = LOG(v16 * y / v14);
    const float v22 = LOG(v16 * v12 / v15);
    const float v29 = v10 * v19 + v11 * v22 + (v14 + v15 - v16) - 0.9189385332046727f;
    const float v39 = LOG(v16 / (v14 * v15)) * 0.5f - LOG(v13 * y * v12) + LOG(v10);
    const float v45 = (v13 * (-0.059857205921064145f) - 0.11938844095410837f) * v13;
    const float v50 = (v13 * 1.4365711803780448f + 3.5837345187043734f) * v13 + 3.2518377950942923f;
    const float v56 = (v10 * (-0.059857205921064145f) - 0.11938844095410837f) * v10;
    const float v61 = (v10 * 1.4365711803780448f + 3.5837345187043734f) * v10 + 3.2518377950942923f;
    const float v65 = (v45 - 0.07236494292470008f) / (v50 * v13 + 1) - (v56 - 0.07236494292470008f)
        / (v61 * v10 + 1);
    const float v68 = (v11 * (-0.059857205921064145f) - 0.11938844095410837f) * v11;
    const float v73 = (v11 * 1.4365711803780448f + 3.5837345187043734f) * v11 + 3.2518377950942923f;
    const float v78 = v29 + (v39 + LOG(v11)) + (v65 - (v68 - 0.07236494292470008f) / (v73 * v11 +
        1));
    const float v84 = (v13 * 2.3854313977361117f + 5.110746590596114f) * v13 + 3.917450204729086f;
    const float v87 = (v13 * 0.09906583664163492f + 0.11593151565841245f) / (v84 * v13 + 1);
    const float v89 = v87 - 1 / v13;
    const float v95 = (v10 * 2.3854313977361117f + 5.110746590596114f) * v10 + 3.917450204729086f;
    const float v98 = (v10 * 0.09906583664163492f + 0.11593151565841245f) / (v95 * v10 + 1);
    const float v105 = (v11 * 2.3854313977361117f + 5.110746590596114f) * v11 + 3.917450204729086f;
    const float v108 = (v11 * 0.09906583664163492f + 0.11593151565841245f) / (v105 * v11 + 1);
    const float v112 = v10 * (v19 - v98 + v89) + 1;
    const float v115 = v11 * (v22 - v108 + v89) + 1;
    slopes[0] = v112 * v9 - v115 * v8;
    slopes[1] = v112 + v115;
    return v78;
}

INLINE float VonMises_float(float y, float y_low, float cosine_loc, float sine_loc, float
    concentration, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = turned_float((double)y + y_low, 1);
    const float v2 = turned_float((double)y + y_low, 0);
    const float v3 = v1 - cosine_loc;
    const float v5 = v2 - sine_loc;
    const float v8 = (v3 * v3 + v5 * v5) * 0.5f;
    const float v11 = sqrtf(concentration * concentration + 5.76f);
    const float one_by_v11 = 1 / v11;
    const float v13 = one_by_v11 * 2.4f;
    const float v17 = (v13 * (-4.307326339519763f) + 5.279074581080994f) * v13 - 5.964709055917625f;
    const float v21 = (v17 * v13 + 5.573719463452966f) * v13 - 2.3747408761623725f;
    const float v27 = (v13 * 0.6808751672963121f + 3.2639503975865543f) * v13 - 0.6893608445481874f;
    const float v31 = (v27 * v13 + 4.1143522973927436f) * v13 - 1.3350563270400584f;
    const float v33 = v31 * v13 + 1;
    const float v37 = (v13 * (-21.536631697598814f) + 21.116298324323974f) * v13 -
        17.894127167752877f;
    const float v41 = (v37 * v13 + 11.147438926905933f) * v13 - 2.3747408761623725f;
    const float v45 = (v13 * 3.404375836481561f + 13.055801590346217f) * v13 - 2.068082533644562f;
    const float v49 = (v45 * v13 + 8.228704594785487f) * v13 - 1.3350563270400584f;
    const float one_by_v33 = 1 / v33;
    const float v50 = (v21 * v13 + 0.9189384966523093f) * one_by_v33;
    const float v56 = 1 / (v11 + concentration) * 5.76f;
    const float v64 = concentration * one_by_v11 * (v13 * ((v41 - v50 * v49) * one_by_v33) + 0.5f);
    slopes[0] = concentration * (v2 * cosine_loc - v1 * sine_loc);
    slopes[1] = concentration * ((v56 + v64) * one_by_v11 - v8);
    return -concentration * v8 - (v50 + v56 - LOG(v11) * 0.5f);
}

INLINE float Bernoulli_float(float y, float y_low, float logits, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = fabsf(logits);
    const float v3 = EXP(-v1);
    const int v4 = logits < 0;
    slopes[0] = (y - (v4 ? v3 : 1) / (v3 + 1) + y_low);
    return y * logits - (logits + v1) * 0.5f - LOG1P(v3);
}

INLINE float Poisson_float(float y, float y_low, float rate, float log_rate, float *slopes, uint32_t
    *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = y + 0.5f;
    const float one_by_v1 = 1 / v1;
    const float v5 = (rate - v1) * one_by_v1;
    const float v7 = v5 / (v5 + 2);
    const float v8 = v7 * v7;
    const float v13 = (v8 * 0.14285714285714285f + 0.2f) * v8 + 0.3333333333333333f;
    const float v16 = v7 * (v8 * 2 * v13 - v5);
    const int v18 = fabsf(v5) < 0.25f;
    const float v20 = LOG(rate * one_by_v1) - v5;
    const float v28 = (y * (-0.059857205921064145f) - 0.11938844095410837f) * y -
        0.07236494292470008f;
    const float v32 = (y * 1.4365711803780448f + 3.5837345187043734f) * y + 3.2518377950942923f;
    const float v36 = v1 * (v18 ? v16 : v20) - log_rate * 0.5f - v28 / (v32 * y + 1);
    slopes[0] = (y - rate + y_low);
    return v36 - 0.9189385332046727f;
}

INLINE float Poisson_with_constants_float(float y, float y_low, float rate, float exposure, float
    *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = rate * exposure;
    const float v2 = y + 0.5f;
    const float v3 = (y - v1 + y_low);
    const float one_by_v2 = 1 / v2;
    const float v6 = (v1 - v2) * one_by_v2;
    const float v8 = v6 / (v6 + 2);
    const float v9 = v8 * v8;
    const float v14 = (v9 * 0.14285714285714285f + 0.2f) * v9 + 0.3333333333333333f;
    const float v17 = v8 * (v9 * 2 * v14 - v6);
    const int v19 = fabsf(v6) < 0.25f;
    const float v21 = LOG(v1 * one_by_v2) - v6;
    const float v30 = (y * (-0.059857205921064145f) - 0.11938844095410837f) * y -
        0.07236494292470008f;
    const float v34 = (y * 1.4365711803780448f + 3.5837345187043734f) * y + 3.2518377950942923f;
    const float v38 = v2 * (v19 ? v17 : v21) - LOG(v1) * 0.5f - v30 / (v34 * y + 1);
    slopes[0] = v3;
    slopes[1] = v3 / exposure;
    return v38 - 0.9189385332046727f;
}

INLINE float AsymmetricLaplace_float(float y, float y_low, float loc, float scale, float log_scale,
    float asymmetry, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float one_by_scale = 1 / scale;
    const float v2 = (y - loc + y_low) * one_by_scale;
    const float v3 = fabsf(asymmetry);
    const float v5 = EXP(-v3);
    const float v7 = 1 / (v5 + 1);
    const float v8 = v5 * v7;
    const int v9 = asymmetry < 0;
    const float v10 = (v9 ? v8 : v7);
    const float v11 = (v9 ? v7 : v8);
    const int v12 = v2 < 0;
    const float v13 = -v11;
    const int v14 = 0 < v2;
    const float v16 = (v10 - v11) * 0.5f;
    const float v17 = (v14 ? v10 : v16);
    const float v18 = (v12 ? v13 : v17);
    const float v19 = v2 * v18;
    slopes[0] = v18 * one_by_scale;
    slopes[1] = v19 - 1;
    slopes[2] = v11 - v10 - v2 * v10 * v11;
    return -v19 - log_scale - v3 - LOG1P(v5) * 2;
}

INLINE float Cauchy_float(float y, float y_low, float loc, float scale, float log_scale, float
    *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float one_by_scale = 1 / scale;
    const float v2 = (y - loc + y_low) * one_by_scale;
    const float v3 = v2 * v2;
    const float v6 = 1 / (v3 + 1) * 2;
    slopes[0] = v6 * v2 * one_by_scale;
    slopes[1] = v3 * v6 - 1;
    return (-1.1447298858494002f) - log_scale - LOG1P(v3);
}

INLINE float GeneralizedGamma_float(float y, float y_low, float scale, float concentration, float
    log_concentration, float power, float log_power, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v3 = power * LOG(y / scale);
    const float v4 = EXP(v3);
    const float v5 = concentration + 0.5f;
    const float v6 = LOG(v5);
    const float v8 = v3 - v6;
    const float v12 = log_power + log_concentration + concentration * v8 + (v5 - v4);
    const float v14 = concentration * (-0.059857205921064145f) - 0.11938844095410837f;
    const float v19 = (concentration * 1.4365711803780448f + 3.5837345187043734f) * concentration;
    const float v23 = (v14 * concentration - 0.07236494292470008f) / ((v19 + 3.2518377950942923f) *
        concentration + 1);
    const float v34 = (concentration * 2.3854313977361117f + 5.110746590596114f) * concentration;
    const float v38 = (concentration * 0.09906583664163492f + 0.11593151565841245f) / ((v34 +
        3.917450204729086f) * concentration + 1);
    slopes[0] = power * (v4 - concentration);
    slopes[1] = concentration * (v8 - v38) + 1;
    slopes[2] = v3 * (concentration - v4) + 1;
    return v12 - v23 - (LOG(y) + v6 * 0.5f + 0.9189385332046727f);
}

INLINE float GeneralizedNormal_float(float y, float y_low, float loc, float scale, float log_scale,
    float power, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v2 = (y - loc + y_low) / scale;
    const float v3 = 1 / power;
    const float v4 = fabsf(v2);
    const int v5 = v4 == 0;
    const float v6 = (v5 ? 1 : v4);
    const float v8 = power * LOG(v6);
    const float v9 = EXP(v8);
    const float v10 = (v5 ? 0 : v9);
    const float v11 = v3 + 0.5f;
    const float v12 = LOG(v11);
    const float v19 = (v3 * (-0.059857205921064145f) - 0.11938844095410837f) * v3 -
        0.07236494292470008f;
    const float v23 = (v3 * 1.4365711803780448f + 3.5837345187043734f) * v3 + 3.2518377950942923f;
    const float v30 = -v10 - log_scale - 1.612085713764618f - (v19 / (v23 * v3 + 1) + v11 * (v12 -
        1));
    const float v31 = power * v10;
    const float v37 = (v3 * 2.3854313977361117f + 5.110746590596114f) * v3 + 3.917450204729086f;
    const float v40 = (v3 * 0.09906583664163492f + 0.11593151565841245f) / (v37 * v3 + 1);
    slopes[0] = v31 * sign__float(v2) / (v6 * scale);
    slopes[1] = v31 - 1;
    slopes[2] = v3 * (v40 + v12) - v10 * v8;
    return v30;
}

INLINE float Geometric_float(float y, float y_low, float logits, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = fabsf(logits);
    const float v3 = EXP(-v1);
    const float v5 = 1 / (v3 + 1);
    const int v6 = logits < 0;
    const float v7 = v3 * v5;
    const float v12 = LOG1P(v3);
    const float v18 = y * ((logits + v1) * (-0.5f) - v12) + ((logits - v1) * 0.5f - v12);
    slopes[0] = (v6 ? v5 : v7) - y * (v6 ? v7 : v5);
    return v18;
}

INLINE float Gumbel_float(float y, float y_low, float loc, float scale, float log_scale, float
    *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float one_by_scale = 1 / scale;
    const float v2 = (y - loc + y_low) * one_by_scale;
    const float v3 = -v2;
    const float v4 = EXP(v3);
    const float v5 = 1 - v4;
    slopes[0] = v5 * one_by_scale;
    slopes[1] = v2 * v5 - 1;
    return v3 - v4 - log_scale;
}

INLINE float HalfNormal_float(float y, float y_low, float scale, float log_scale, float *slopes,
    uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = y / scale;
    const float v2 = v1 * v1;
    slopes[0] = v2 - 1;
    return (-0.2257913526447274f) - log_scale - v2 * 0.5f;
}

INLINE float HyperbolicSecant_float(float y, float y_low, float loc, float scale, float log_scale,
    float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float one_by_scale = 1 / scale;
    const float v2 = (y - loc + y_low) * one_by_scale;
    const float v3 = fabsf(v2);
    const float v5 = EXP(v3 * (-2));
    const float v10 = sign__float(v2) * (1 - v5) / (v5 + 1);
    slopes[0] = v10 * one_by_scale;
    slopes[1] = v2 * v10 - 1;
    return (-0.4515827052894548f) - v3 - LOG1P(v5) - log_scale;
}

INLINE float InverseGamma_float(float y, float y_low, float concentration, float log_concentration,
    float rate, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = 1 / y;
    const float v2 = rate * v1;
    const float v3 = concentration + 0.5f;
    const float v5 = LOG(v2 / v3);
    const float v11 = concentration * (-0.059857205921064145f) - 0.11938844095410837f;
    const float v16 = (concentration * 1.4365711803780448f + 3.5837345187043734f) * concentration;
    const float v20 = (v11 * concentration - 0.07236494292470008f) / ((v16 + 3.2518377950942923f) *
        concentration + 1);
    const float v27 = log_concentration + concentration * v5 + (v3 - v2) - v20 - (LOG(v1) + LOG(v3)
        * 0.5f + 0.9189385332046727f);
    const float v32 = (concentration * 2.3854313977361117f + 5.110746590596114f) * concentration;
    const float v36 = (concentration * 0.09906583664163492f + 0.11593151565841245f) / ((v32 +
        3.917450204729086f) * concentration + 1);
    slopes[0] = concentration * (v5 - v36) + 1;
    slopes[1] = concentration - v2;
    return v27 - LOG(y) * 2;
}

INLINE float InverseGaussian_float(float y, float y_low, float loc, float concentration, float
    log_concentration, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = (y - loc + y_low);
    const float one_by_loc = 1 / loc;
    const float v4 = concentration * (v1 * one_by_loc) * one_by_loc;
    const float v6 = v4 * v1 / y;
    const float v12 = (log_concentration - v6) * 0.5f - 0.9189385332046727f - LOG(y) * 1.5f;
    slopes[0] = v4;
    slopes[1] = 0.5f - v6 * 0.5f;
    return v12;
}

INLINE float JohnsonSU_float(float y, float y_low, float loc, float scale, float log_scale, float
    skewness, float tailweight, float log_tailweight, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float one_by_scale = 1 / scale;
    const float v2 = (y - loc + y_low) * one_by_scale;
    const float v3 = v2 * v2;
    const float v5 = v3 + 1;
    const float v6 = sqrtf(v5);
    const float v12 = sign__float(v2) * LOG1P(fabsf(v2) + v3 / (v6 + 1));
    const float v14 = skewness + tailweight * v12;
    const float v20 = log_tailweight - 0.9189385332046727f - v14 * 0.5f * v14 - LOG(v6);
    const float v25 = v2 / v5 + tailweight * v14 / v6;
    slopes[0] = v25 * one_by_scale;
    slopes[1] = v2 * v25 - 1;
    slopes[2] = -v14;
    slopes[3] = 1 - v14 * tailweight * v12;
    return v20 - log_scale;
}

INLINE float LogLogistic_float(float y, float y_low, float scale, float concentration, float
    log_concentration, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v3 = concentration * LOG(y / scale);
    const float v4 = fabsf(v3);
    const float v6 = EXP(-v4);
    const float v11 = sign__float(v3) * (1 - v6) / (v6 + 1);
    slopes[0] = concentration * v11;
    slopes[1] = 1 - v3 * v11;
    return log_concentration - LOG(y) - v4 - LOG1P(v6) * 2;
}

INLINE float LogNormal_float(float y, float y_low, float loc, float scale, float log_scale, float
    *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const double v2 = log__double(((double)y + y_low));
    const float one_by_scale = 1 / scale;
    const float v5 = (float)(v2 - loc) * one_by_scale;
    const float v6 = v5 * v5;
    slopes[0] = v5 * one_by_scale;
    slopes[1] = v6 - 1;
    return (-0.9189385332046727f) - (float)v2 - log_scale - v6 * 0.5f;
}

INLINE float MeanLogNormal_float(float y, float y_low, float log_mean, float scale, float log_scale,
    float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = scale * scale;
    const double v5 = log__double(((double)y + y_low));
    const float one_by_scale = 1 / scale;
    const float v8 = (float)(v5 - (log_mean - v1 * 0.5f)) * one_by_scale;
    const float v9 = v8 * v8;
    const float v15 = v8 * one_by_scale;
    slopes[0] = v15;
    slopes[1] = v9 - 1 - v1 * v15;
    return (-0.9189385332046727f) - (float)v5 - log_scale - v9 * 0.5f;
}

INLINE float Logistic_float(float y, float y_low, float loc, float scale, float log_scale, float
    *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float one_by_scale = 1 / scale;
    const float v2 = (y - loc + y_low) * one_by_scale;
    const float v4 = -fabsf(v2);
    const float v5 = EXP(v4);
    const float v10 = sign__float(v2) * (1 - v5) / (v5 + 1);
    slopes[0] = v10 * one_by_scale;
    slopes[1] = v2 * v10 - 1;
    return v4 - LOG1P(v5) * 2 - log_scale;
}

INLINE float LogitNormal_float(float y, float y_low, float loc, float scale, float log_scale, float
    *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const double v1 = ((double)y + y_low);
    const double v2 = log__double(v1);
    const double v4 = log1p__double(-v1);
    const float one_by_scale = 1 / scale;
    const float v8 = (float)(v2 - v4 - loc) * one_by_scale;
    const float v9 = v8 * v8;
    const float v15 = (-0.9189385332046727f) - (float)(v2 + v4) - log_scale - v9 * 0.5f;
    slopes[0] = v8 * one_by_scale;
    slopes[1] = v9 - 1;
    return v15;
}

INLINE float NegativeBinomial_float(float y, float y_low, float total_count, float log_total_count,
    float logits, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v3 = EXP(-fabsf(logits));
    const float v5 = 1 / (v3 + 1);
    const float v6 = v3 * v5;
    const int v7 = logits < 0;
    const float v8 = (v7 ? v6 : v5);
    const float v9 = (v7 ? v5 : v6);
    const float v10 = y + total_count;
    const float v11 = y + 0.5f;
    const float v12 = total_count + 0.5f;
    const float v13 = v10 + 0.5f;
    const float v14 = v13 * v9;
    const float v15 = total_count - v14;
    const float v16 = v13 * v8;
    const float one_by_v11 = 1 / v11;
    const float v18 = v15 * one_by_v11;
    const float v20 = v18 / (v18 + 2);
    const float v21 = v20 * v20;
    const float v26 = (v21 * 0.14285714285714285f + 0.2f) * v21 + 0.3333333333333333f;
    const float v29 = v20 * (v21 * 2 * v26 - v18);
    const int v31 = fabsf(v18) < 0.25f;
    const float v33 = LOG(v16 * one_by_v11) - v18;
    const float one_by_v12 = 1 / v12;
    const float v37 = -(v15 + 0.5f) * one_by_v12;
    const float v40 = v37 / (v37 + 2);
    const float v41 = v40 * v40;
    const float v46 = (v41 * 0.14285714285714285f + 0.2f) * v41 + 0.3333333333333333f;
    const float v49 = v40 * (v41 * 2 * v46 - v37);
    const int v51 = fabsf(v37) < 0.25f;
    const float v53 = LOG(v14 * one_by_v12) - v37;
    const float v54 = (v51 ? v49 : v53);
    const float v62 = v11 * (v31 ? v29 : v33) + v12 * v54 - LOG(v10 * sqrtf(v16 * v9));
    const float v66 = (v10 * (-0.059857205921064145f) - 0.11938844095410837f) * v10;
    const float v71 = (v10 * 1.4365711803780448f + 3.5837345187043734f) * v10 + 3.2518377950942923f;
    const float v76 = total_count * (-0.059857205921064145f) - 0.11938844095410837f;
    const float v81 = (total_count * 1.4365711803780448f + 3.5837345187043734f) * total_count;
    const float v85 = (v76 * total_count - 0.07236494292470008f) / ((v81 + 3.2518377950942923f) *
        total_count + 1);
    const float v90 = (y * (-0.059857205921064145f) - 0.11938844095410837f) * y -
        0.07236494292470008f;
    const float v94 = (y * 1.4365711803780448f + 3.5837345187043734f) * y + 3.2518377950942923f;
    const float v98 = (v66 - 0.07236494292470008f) / (v71 * v10 + 1) - v85 - v90 / (v94 * y + 1);
    const float v106 = (v10 * 2.3854313977361117f + 5.110746590596114f) * v10 + 3.917450204729086f;
    const float v109 = (v10 * 0.09906583664163492f + 0.11593151565841245f) / (v106 * v10 + 1);
    const float v116 = (total_count * 2.3854313977361117f + 5.110746590596114f) * total_count;
    const float v120 = (total_count * 0.09906583664163492f + 0.11593151565841245f) / ((v116 +
        3.917450204729086f) * total_count + 1);
    slopes[0] = total_count * (v54 + v37 + (v109 - 1 / v10 - v120)) + 1;
    slopes[1] = y * v9 - total_count * v8;
    return v62 + log_total_count + (v98 - 0.9189385332046727f);
}

INLINE float MeanNegativeBinomial_float(float y, float y_low, float log_mean, float total_count,
    float log_total_count, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = log_mean - log_total_count;
    const float v4 = EXP(-fabsf(v1));
    const float v6 = 1 / (v4 + 1);
    const float v7 = v4 * v6;
    const int v8 = v1 < 0;
    const float v9 = (v8 ? v7 : v6);
    const float v10 = (v8 ? v6 : v7);
    const float v11 = y + total_count;
    const float v12 = y + 0.5f;
    const float v13 = total_count + 0.5f;
    const float v14 = v11 + 0.5f;
    const float v15 = v14 * v10;
    const float v16 = total_count - v15;
    const float v17 = v14 * v9;
    const float one_by_v12 = 1 / v12;
    const float v19 = v16 * one_by_v12;
    const float v21 = v19 / (v19 + 2);
    const float v22 = v21 * v21;
    const float v27 = (v22 * 0.14285714285714285f + 0.2f) * v22 + 0.3333333333333333f;
    const float v30 = v21 * (v22 * 2 * v27 - v19);
    const int v32 = fabsf(v19) < 0.25f;
    const float v34 = LOG(v17 * one_by_v12) - v19;
    const float one_by_v13 = 1 / v13;
    const float v38 = -(v16 + 0.5f) * one_by_v13;
    const float v41 = v38 / (v38 + 2);
    const float v42 = v41 * v41;
    const float v47 = (v42 * 0.14285714285714285f + 0.2f) * v42 + 0.3333333333333333f;
    const float v50 = v41 * (v42 * 2 * v47 - v38);
    const int v52 = fabsf(v38) < 0.25f;
    const float v54 = LOG(v15 * one_by_v13) - v38;
    const float v55 = (v52 ? v50 : v54);
    const float v63 = v12 * (v32 ? v30 : v34) + v13 * v55 - LOG(v11 * sqrtf(v17 * v10));
    const float v67 = (v11 * (-0.059857205921064145f) - 0.11938844095410837f) * v11;
    const float v72 = (v11 * 1.4365711803780448f + 3.5837345187043734f) * v11 + 3.2518377950942923f;
    const float v77 = total_count * (-0.059857205921064145f) - 0.11938844095410837f;
    const float v82 = (total_count * 1.4365711803780448f + 3.5837345187043734f) * total_count;
    const float v86 = (v77 * total_count - 0.07236494292470008f) / ((v82 + 3.2518377950942923f) *
        total_count + 1);
    const float v91 = (y * (-0.059857205921064145f) - 0.11938844095410837f) * y -
        0.07236494292470008f;
    const float v95 = (y * 1.4365711803780448f + 3.5837345187043734f) * y + 3.2518377950942923f;
    const float v99 = (v67 - 0.07236494292470008f) / (v72 * v11 + 1) - v86 - v91 / (v95 * y + 1);
    const float v107 = (v11 * 2.3854313977361117f + 5.110746590596114f) * v11 + 3.917450204729086f;
    const float v110 = (v11 * 0.09906583664163492f + 0.11593151565841245f) / (v107 * v11 + 1);
    const float v117 = (total_count * 2.3854313977361117f + 5.110746590596114f) * total_count;
    const float v121 = (total_count * 0.09906583664163492f + 0.11593151565841245f) / ((v117 +
        3.917450204729086f) * total_count + 1);
    const float v129 = y * v10 - total_count * v9;
    const float v130 = total_count * (v55 + v38 + (v110 - 1 / v11 - v121)) + 1 - v129;
    slopes[0] = v129;
    slopes[1] = v130;
    return v63 + log_total_count + (v99 - 0.9189385332046727f);
}

INLINE float MeanNegativeBinomial_with_constants_float(float y, float y_low, float mean, float
    total_count, float log_total_count, float exposure, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v3 = LOG(mean * exposure) - log_total_count;
    const float v6 = EXP(-fabsf(v3));
    const float v8 = 1 / (v6 + 1);
    const float v9 = v6 * v8;
    const int v10 = v3 < 0;
    const float v11 = (v10 ? v9 : v8);
    const float v12 = (v10 ? v8 : v9);
    const float v13 = y + total_count;
    const float v14 = y + 0.5f;
    const float v15 = total_count + 0.5f;
    const float v16 = v13 + 0.5f;
    const float v17 = v16 * v12;
    const float v18 = total_count - v17;
    const float v19 = v16 * v11;
    const float one_by_v14 = 1 / v14;
    const float v21 = v18 * one_by_v14;
    const float v23 = v21 / (v21 + 2);
    const float v24 = v23 * v23;
    const float v29 = (v24 * 0.14285714285714285f + 0.2f) * v24 + 0.3333333333333333f;
    const float v32 = v23 * (v24 * 2 * v29 - v21);
    const int v34 = fabsf(v21) < 0.25f;
    const float v36 = LOG(v19 * one_by_v14) - v21;
    const float one_by_v15 = 1 / v15;
    const float v40 = -(v18 + 0.5f) * one_by_v15;
    const float v43 = v40 / (v40 + 2);
    const float v44 = v43 * v43;
    const float v49 = (v44 * 0.14285714285714285f + 0.2f) * v44 + 0.3333333333333333f;
    const float v52 = v43 * (v44 * 2 * v49 - v40);
    const int v54 = fabsf(v40) < 0.25f;
    const float v56 = LOG(v17 * one_by_v15) - v40;
    const float v57 = (v54 ? v52 : v56);
    const float v65 = v14 * (v34 ? v32 : v36) + v15 * v57 - LOG(v13 * sqrtf(v19 * v12));
    const float v69 = (v13 * (-0.059857205921064145f) - 0.11938844095410837f) * v13;
    const float v74 = (v13 * 1.4365711803780448f + 3.5837345187043734f) * v13 + 3.2518377950942923f;
    const float v79 = total_count * (-0.059857205921064145f) - 0.11938844095410837f;
    const float v84 = (total_count * 1.4365711803780448f + 3.5837345187043734f) * total_count;
    const float v88 = (v79 * total_count - 0.07236494292470008f) / ((v84 + 3.2518377950942923f) *
        total_count + 1);
    const float v93 = (y * (-0.059857205921064145f) - 0.11938844095410837f) * y -
        0.07236494292470008f;
    const float v97 = (y * 1.4365711803780448f + 3.5837345187043734f) * y + 3.2518377950942923f;
    const float v101 = (v69 - 0.07236494292470008f) / (v74 * v13 + 1) - v88 - v93 / (v97 * y + 1);
    const float v109 = (v13 * 2.3854313977361117f + 5.110746590596114f) * v13 + 3.917450204729086f;
    const float v112 = (v13 * 0.09906583664163492f + 0.11593151565841245f) / (v109 * v13 + 1);
    const float v119 = (total_count * 2.3854313977361117f + 5.110746590596114f) * total_count;
    const float v123 = (total_count * 0.09906583664163492f + 0.11593151565841245f) / ((v119 +
        3.917450204729086f) * total_count + 1);
    const float v131 = y * v12 - total_count * v11;
    const float v132 = total_count * (v57 + v40 + (v112 - 1 / v13 - v123)) + 1 - v131;
    slopes[0] = v131;
    slopes[1] = v132;
    slopes[2] = v131 / exposure;
    return v65 + log_total_count + (v101 - 0.9189385332046727f);
}

INLINE float Pareto_float(float y, float y_low, float scale, float alpha, float log_alpha, float
    *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = LOG(y);
    const float v4 = alpha * LOG(y / scale);
    slopes[0] = alpha + v1 * 0;
    slopes[1] = 1 - v4;
    return log_alpha - v4 - v1;
}

INLINE float Weibull_float(float y, float y_low, float scale, float concentration, float
    log_concentration, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v3 = concentration * LOG(y / scale);
    const float v4 = EXP(v3);
    slopes[0] = concentration * (v4 - 1);
    slopes[1] = v3 * (1 - v4) + 1;
    return log_concentration + v3 - LOG(y) - v4;
}

INLINE float WrappedCauchy_float(float y, float y_low, float cosine_loc, float sine_loc, float
    concentration, float *slopes, uint32_t *beyond) {
    (void)beyond; (void)y; (void)y_low;
    const float v1 = turned_float((double)y + y_low, 1);
    const float v2 = turned_float((double)y + y_low, 0);
    const float v5 = EXP(-fabsf(concentration));
    const float v7 = 1 / (v5 + 1);
    const float v8 = v5 * v7;
    const int v9 = concentration < 0;
    const float v10 = (v9 ? v8 : v7);
    const float v11 = (v9 ? v7 : v8);
    const float v12 = v1 - cosine_loc;
    const float v14 = v2 - sine_loc;
    const float v16 = v12 * v12 + v14 * v14;
    const float v19 = v11 * v11 + v10 * v16;
    const float v20 = v10 + 1;
    const float one_by_v19 = 1 / v19;
    slopes[0] = v10 * 2 * (v2 * cosine_loc - v1 * sine_loc) * one_by_v19;
    slopes[1] = v10 * v11 * ((v11 * 2 - v16) * one_by_v19 + 1 / v20) - v10;
    return LOG(v11 * v20 * one_by_v19) - 1.8378770664093453f;
}

#undef FORMULAS
#define FORMULAS(X) \
    X(Normal, REALS, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, SOFTPLUS) \
    X(Laplace, REALS, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, SOFTPLUS) \
    X(StudentT, REALS, 3, 3, 4, (one[0].value, one[1].value, one[2].value, one[2].log), SOFTPLUS, \
        IDENTITY, SOFTPLUS) \
    X(Exponential, POSITIVES, 1, 1, 1, (one[0].value, one[0].log), SOFTPLUS) \
    X(Gamma, POSITIVES, 2, 2, 1, (one[0].value, one[0].log, one[1].value), SOFTPLUS, SOFTPLUS) \
    X(MeanGamma, POSITIVES, 2, 2, 2, (one[0].value, one[1].value, one[1].log), SOFTPLUS, SOFTPLUS) \
    X(Beta, POSITIVES, 2, 2, 3, (one[0].value, one[0].log, one[1].value, one[1].log), SOFTPLUS, \
        SOFTPLUS) \
    X(MeanBeta, POSITIVES, 2, 2, 0, (one[0].value, one[1].value), IDENTITY, SOFTPLUS) \
    X(VonMises, REALS, 2, 3, 0, (one[0].value, one[0].log, one[1].value), DIRECTION, SOFTPLUS) \
    X(Bernoulli, POSITIVES, 1, 1, 0, (one[0].value), IDENTITY) \
    X(Poisson, COUNTS, 1, 1, 1, (one[0].value, one[0].log), SOFTPLUS) \
    X(Poisson_with_constants, COUNTS, 2, 2, 0, (one[0].value, one[1].value), SOFTPLUS, IDENTITY) \
    X(AsymmetricLaplace, REALS, 3, 3, 2, (one[0].value, one[1].value, one[1].log, one[2].value), \
        IDENTITY, SOFTPLUS, IDENTITY) \
    X(Cauchy, REALS, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, SOFTPLUS) \
    X(GeneralizedGamma, POSITIVES, 3, 3, 6, (one[0].value, one[1].value, one[1].log, one[2].value, \
        one[2].log), SOFTPLUS, SOFTPLUS, SOFTPLUS) \
    X(GeneralizedNormal, REALS, 3, 3, 2, (one[0].value, one[1].value, one[1].log, one[2].value), \
        IDENTITY, SOFTPLUS, SOFTPLUS) \
    X(Geometric, COUNTS, 1, 1, 0, (one[0].value), IDENTITY) \
    X(Gumbel, REALS, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, SOFTPLUS) \
    X(HalfNormal, POSITIVES, 1, 1, 1, (one[0].value, one[0].log), SOFTPLUS) \
    X(HyperbolicSecant, REALS, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, \
        SOFTPLUS) \
    X(InverseGamma, POSITIVES, 2, 2, 1, (one[0].value, one[0].log, one[1].value), SOFTPLUS, \
        SOFTPLUS) \
    X(InverseGaussian, POSITIVES, 2, 2, 2, (one[0].value, one[1].value, one[1].log), SOFTPLUS, \
        SOFTPLUS) \
    X(JohnsonSU, REALS, 4, 4, 10, (one[0].value, one[1].value, one[1].log, one[2].value, \
        one[3].value, one[3].log), IDENTITY, SOFTPLUS, IDENTITY, SOFTPLUS) \
    X(LogLogistic, POSITIVES, 2, 2, 2, (one[0].value, one[1].value, one[1].log), SOFTPLUS, \
        SOFTPLUS) \
    X(LogNormal, POSITIVES, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, SOFTPLUS) \
    X(MeanLogNormal, POSITIVES, 2, 2, 3, (one[0].log, one[1].value, one[1].log), SOFTPLUS, \
        SOFTPLUS) \
    X(Logistic, REALS, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, SOFTPLUS) \
    X(LogitNormal, POSITIVES, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, \
        SOFTPLUS) \
    X(NegativeBinomial, COUNTS, 2, 2, 1, (one[0].value, one[0].log, one[1].value), SOFTPLUS, \
        IDENTITY) \
    X(MeanNegativeBinomial, COUNTS, 2, 2, 3, (one[0].log, one[1].value, one[1].log), SOFTPLUS, \
        SOFTPLUS) \
    X(MeanNegativeBinomial_with_constants, COUNTS, 3, 3, 2, (one[0].value, one[1].value, \
        one[1].log, one[2].value), SOFTPLUS, SOFTPLUS, IDENTITY) \
    X(Pareto, POSITIVES, 2, 2, 2, (one[0].value, one[1].value, one[1].log), SOFTPLUS, SOFTPLUS) \
    X(Weibull, POSITIVES, 2, 2, 2, (one[0].value, one[1].value, one[1].log), SOFTPLUS, SOFTPLUS) \
    X(WrappedCauchy, REALS, 2, 3, 0, (one[0].value, one[0].log, one[1].value), DIRECTION, \
        IDENTITY)

#else

INLINE double Normal_double(double y, double loc, double scale, double log_scale, double *slopes,
    uint64_t *beyond) {
    (void)beyond; (void)y;
    const double one_by_scale = 1 / scale;
    const double v2 = (y - loc) * one_by_scale;
    const double v3 = v2 * v2;
    slopes[0] = v2 * one_by_scale;
    slopes[1] = v3 - 1;
    return (-0.9189385332046727) - log_scale - v3 * 0.5;
}

INLINE double Laplace_double(double y, double loc, double scale, double log_scale, double *slopes,
    uint64_t *beyond) {
    (void)beyond; (void)y;
    const double one_by_scale = 1 / scale;
    const double v2 = (y - loc) * one_by_scale;
    const double v3 = fabs(v2);
    slopes[0] = sign__double(v2) * one_by_scale;
    slopes[1] = v3 - 1;
    return (-0.6931471805599453) - log_scale - v3;
}

INLINE double StudentT_double(double y, double df, double loc, double scale, double log_scale,
    double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v2 = (y - loc) / scale;
    const double v3 = df * 0.5;
    const double v5 = v2 * v2 / df;
    const double v6 = LOG1P(v5);
    const double v7 = v5 + 1;
    const double v8 = v5 / v7;
    const double v9 = df + 1;
    const double v13 = (v3 * 0.008893333695926191 + 0.052326039618298154) * v3 +
        0.12517970110151988;
    const double v21 = (v3 * 0.28458646297076273 + 1.74558732133127) * v3 + 4.464279140982963;
    const double v26 = ((v21 * v3 + 5.825521749004998) * v3 + 3.822886198799914) * v3;
    const double v27 = v26 + 1;
    const double v31 = (v3 * 0.035573334783704766 + 0.15697811885489446) * v3 + 0.25035940220303976;
    const double v37 = (v3 * 1.4229323148538136 + 6.98234928532508) * v3 + 13.39283742294889;
    const double one_by_v27 = 1 / v27;
    const double v42 = ((v13 * v3 + 0.1436833216105295) * v3 + 0.06830988618379068) * one_by_v27;
    const double v43 = v42 * ((v37 * v3 + 11.651043498009996) * v3 + 3.822886198799914);
    const double v47 = v3 + 0.25 + v42;
    const double v55 = (LOG(v47 / v3) + v9 * v6) * (-0.5) - log_scale - 0.9189385332046727;
    const double v57 = ((v31 * v3 + 0.1436833216105295 - v43) * one_by_v27 + 1) * 0.5;
    slopes[0] = v3 * (v8 - v6 - v57 / v47) + 0.5 + v8 * 0.5;
    slopes[1] = v9 * v2 / (v7 * df * scale);
    slopes[2] = v9 * v8 - 1;
    return v55;
}

INLINE double Exponential_double(double y, double rate, double log_rate, double *slopes, uint64_t
    *beyond) {
    (void)beyond; (void)y;
    const double v1 = rate * y;
    slopes[0] = 1 - v1;
    return log_rate - v1;
}

INLINE double Gamma_double(double y, double concentration, double log_concentration, double rate,
    double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v1 = rate * y;
    const double v2 = concentration + 0.5;
    const double v4 = LOG(v1 / v2);
    const double v10 = concentration * (-0.027601227229881346) - 0.15759380974629195;
    const double v14 = (v10 * concentration - 0.3853224978373486) * concentration -
        0.4837483801380896;
    const double v18 = (v14 * concentration - 0.3031839559915322) * concentration -
        0.07236494292470008;
    const double v21 = (concentration * 0.6624294528587534 + 4.1134662162301625) * concentration;
    const double v24 = (v21 + 11.17750588192358) * concentration + 16.43516145072218;
    const double v28 = (v24 * concentration + 13.510064718345744) * concentration +
        5.791692146986994;
    const double v32 = log_concentration + concentration * v4 + (v2 - v1) - v18 / (v28 *
        concentration + 1);
    const double v41 = (concentration * 0.07449541448507938 + 0.32113590747378706) * concentration;
    const double v44 = (v41 + 0.5695009358337707) * concentration + 0.45215565872312896;
    const double v49 = (concentration * 1.787891861130509 + 9.495090659914014) * concentration;
    const double v52 = (v49 + 22.135891635232223) * concentration + 27.790237351005867;
    const double v56 = (v52 * concentration + 19.354983842902307) * concentration +
        6.962917617035035;
    const double v59 = (v44 * concentration + 0.11593151565841245) / (v56 * concentration + 1);
    slopes[0] = concentration * (v4 - v59) + 1;
    slopes[1] = concentration - v1;
    return v32 - (LOG(y) + LOG(v2) * 0.5 + 0.9189385332046727);
}

INLINE double MeanGamma_double(double y, double mean, double concentration, double
    log_concentration, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v2 = concentration / mean * y;
    const double v3 = concentration + 0.5;
    const double v5 = LOG(v2 / v3);
    const double v11 = concentration * (-0.027601227229881346) - 0.15759380974629195;
    const double v15 = (v11 * concentration - 0.3853224978373486) * concentration -
        0.4837483801380896;
    const double v19 = (v15 * concentration - 0.3031839559915322) * concentration -
        0.07236494292470008;
    const double v22 = (concentration * 0.6624294528587534 + 4.1134662162301625) * concentration;
    const double v25 = (v22 + 11.17750588192358) * concentration + 16.43516145072218;
    const double v29 = (v25 * concentration + 13.510064718345744) * concentration +
        5.791692146986994;
    const double v33 = log_concentration + concentration * v5 + (v3 - v2) - v19 / (v29 *
        concentration + 1);
    const double v42 = (concentration * 0.07449541448507938 + 0.32113590747378706) * concentration;
    const double v45 = (v42 + 0.5695009358337707) * concentration + 0.45215565872312896;
    const double v50 = (concentration * 1.787891861130509 + 9.495090659914014) * concentration;
    const double v53 = (v50 + 22.135891635232223) * concentration + 27.790237351005867;
    const double v57 = (v53 * concentration + 19.354983842902307) * concentration +
        6.962917617035035;
    const double v60 = (v45 * concentration + 0.11593151565841245) / (v57 * concentration + 1);
    const double v64 = concentration - v2;
    slopes[0] = -v64;
    slopes[1] = concentration * (v5 - v60) + 1 + v64;
    return v33 - (LOG(y) + LOG(v3) * 0.5 + 0.9189385332046727);
}

INLINE double Beta_double(double y, double concentration1, double log_concentration1, double
    concentration0, double log_concentration0, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v1 = 1 - y;
    const double v2 = concentration1 + concentration0;
    const double v3 = concentration1 + 0.5;
    const double v4 = concentration0 + 0.5;
    const double v5 = v2 + 0.5;
    const double v8 = LOG(v5 * y / v3);
    const double v11 = LOG(v5 * v1 / v4);
    const double v18 = concentration1 * v8 + concentration0 * v11 + (v3 + v4 - v5) -
        0.9189385332046727;
    const double v27 = LOG(v5 / (v3 * v4)) * 0.5 - LOG(v2 * y * v1) + log_concentration1;
    const double v33 = (v2 * (-0.027601227229881346) - 0.15759380974629195) * v2 -
        0.3853224978373486;
    const double v38 = ((v33 * v2 - 0.4837483801380896) * v2 - 0.3031839559915322) * v2;
    const double v43 = (v2 * 0.6624294528587534 + 4.1134662162301625) * v2 + 11.17750588192358;
    const double v48 = ((v43 * v2 + 16.43516145072218) * v2 + 13.510064718345744) * v2;
    const double v52 = (v38 - 0.07236494292470008) / ((v48 + 5.791692146986994) * v2 + 1);
    const double v54 = concentration1 * (-0.027601227229881346) - 0.15759380974629195;
    const double v57 = (v54 * concentration1 - 0.3853224978373486) * concentration1;
    const double v60 = (v57 - 0.4837483801380896) * concentration1 - 0.3031839559915322;
    const double v65 = (concentration1 * 0.6624294528587534 + 4.1134662162301625) * concentration1;
    const double v68 = (v65 + 11.17750588192358) * concentration1 + 16.43516145072218;
    const double v71 = (v68 * concentration1 + 13.510064718345744) * concentration1;
    const double v75 = (v60 * concentration1 - 0.07236494292470008) / ((v71 + 5.791692146986994) *
        concentration1 + 1);
    const double v78 = concentration0 * (-0.027601227229881346) - 0.15759380974629195;
    const double v81 = (v78 * concentration0 - 0.3853224978373486) * concentration0;
    const double v84 = (v81 - 0.4837483801380896) * concentration0 - 0.3031839559915322;
    const double v89 = (concentration0 * 0.6624294528587534 + 4.1134662162301625) * concentration0;
    const double v92 = (v89 + 11.17750588192358) * concentration0 + 16.43516145072218;
    const double v95 = (v92 * concentration0 + 13.510064718345744) * concentration0;
    const double v99 = (v84 * concentration0 - 0.07236494292470008) / ((v95 + 5.791692146986994) *
        concentration0 + 1);
    const double v105 = (v2 * 0.07449541448507938 + 0.32113590747378706) * v2 + 0.5695009358337707;
    const double v109 = (v105 * v2 + 0.45215565872312896) * v2 + 0.11593151565841245;
    const double v113 = (v2 * 1.787891861130509 + 9.495090659914014) * v2 + 22.135891635232223;
    const double v118 = ((v113 * v2 + 27.790237351005867) * v2 + 19.354983842902307) * v2;
    const double v124 = v109 / ((v118 + 6.962917617035035) * v2 + 1) - 1 / v2;
    const double v127 = (concentration1 * 0.07449541448507938 + 0.32113590747378706) *
        concentration1;
    const double v130 = (v127 + 0.5695009358337707) * concentration1 + 0.45215565872312896;
    const double v135 = (concentration1 * 1.787891861130509 + 9.495090659914014) * concentration1;
    const double v138 = (v135 + 22.135891635232223) * concentration1 + 27.790237351005867;
    const double v141 = (v138 * concentration1 + 19.354983842902307) * concentration1;
    const double v145 = (v130 * concentration1 + 0.11593151565841245) / ((v141 + 6.962917617035035)
        * concentration1 + 1);
    const double v149 = (concentration0 * 0.07449541448507938 + 0.32113590747378706) *
        concentration0;
    const double v152 = (v149 + 0.5695009358337707) * concentration0 + 0.45215565872312896;
    const double v157 = (concentration0 * 1.787891861130509 + 9.495090659914014) * concentration0;
    const double v160 = (v157 + 22.135891635232223) * concentration0 + 27.790237351005867;
    const double v163 = (v160 * concentration0 + 19.354983842902307) * concentration0;
    const double v167 = (v152 * concentration0 + 0.11593151565841245) / ((v163 + 6.962917617035035)
        * concentration0 + 1);
    slopes[0] = concentration1 * (v8 - v145 + v124) + 1;
    slopes[1] = concentration0 * (v11 - v167 + v124) + 1;
    return v18 + (v27 + log_concentration0) + (v52 - v75 - v99);
}

INLINE double MeanBeta_double(double y, double mean, double precision, double *slopes, uint64_t
    *beyond) {
    (void)beyond; (void)y;
    const double v3 = EXP(-fabs(mean));
    const double v5 = 1 / (v3 + 1);
    const double v6 = v3 * v5;
    const int v7 = mean < 0;
    const double v8 = (v7 ? v6 : v5);
    const double v9 = (v7 ? v5 : v6);
    const double v10 = precision * v8;
    const double v11 = precision * v9;
    const double v12 = 1 - y;
    const double v13 = v10 + v11;
    const double v14 = v10 + 0.5;
    const double v15 = v11 + 0.5;
    const double v16 = v13 + 0.5;
    const double v19 = LOG(v16 * y / v14);
    const double v22 = LOG(v16 * v12 / v15);
    const double v29 = v10 * v19 + v11 * v22 + (v14 + v15 - v16) - 0.9189385332046727;
    const double v39 = LOG(v16 / (v14 * v15)) * 0.5 - LOG(v13 * y * v12) + LOG(v10);
    const double v46 = (v13 * (-0.027601227229881346) - 0.15759380974629195) * v13 -
        0.3853224978373486;
    const double v51 = ((v46 * v13 - 0.4837483801380896) * v13 - 0.3031839559915322) * v13;
    const double v56 = (v13 * 0.6624294528587534 + 4.1134662162301625) * v13 + 11.17750588192358;
    const double v61 = ((v56 * v13 + 16.43516145072218) * v13 + 13.510064718345744) * v13;
    const double v65 = (v51 - 0.07236494292470008) / ((v61 + 5.791692146986994) * v13 + 1);
    const double v69 = (v10 * (-0.027601227229881346) - 0.15759380974629195) * v10 -
        0.3853224978373486;
    const double v74 = ((v69 * v10 - 0.4837483801380896) * v10 - 0.3031839559915322) * v10;
    const double v79 = (v10 * 0.6624294528587534 + 4.1134662162301625) * v10 + 11.17750588192358;
    const double v84 = ((v79 * v10 + 16.43516145072218) * v10 + 13.510064718345744) * v10;
    const double v88 = (v74 - 0.07236494292470008) / ((v84 + 5.791692146986994) * v10 + 1);
    const double v93 = (v11 * (-0.027601227229881346) - 0.15759380974629195) * v11 -
        0.3853224978373486;
    const double v98 = ((v93 * v11 - 0.4837483801380896) * v11 - 0.3031839559915322) * v11;
    const double v103 = (v11 * 0.6624294528587534 + 4.1134662162301625) * v11 + 11.17750588192358;
    const double v108 = ((v103 * v11 + 16.43516145072218) * v11 + 13.510064718345744) * v11;
    const double v112 = (v98 - 0.07236494292470008) / ((v108 + 5.791692146986994) * v11 + 1);
    const double v118 = (v13 * 0.07449541448507938 + 0.32113590747378706) * v13 +
        0.5695009358337707;
    const double v122 = (v118 * v13 + 0.45215565872312896) * v13 + 0.11593151565841245;
    const double v126 = (v13 * 1.787891861130509 + 9.495090659914014) * v13 + 22.135891635232223;
    const double v130 = (v126 * v13 + 27.790237351005867) * v13 + 19.354983842902307;
    const double v137 = v122 / ((v130 * v13 + 6.962917617035035) * v13 + 1) - 1 / v13;
    const double v141 = (v10 * 0.07449541448507938 + 0.32113590747378706) * v10 +
        0.5695009358337707;
    const double v145 = (v141 * v10 + 0.45215565872312896) * v10 + 0.11593151565841245;
    const double v149 = (v10 * 1.787891861130509 + 9.495090659914014) * v10 + 22.135891635232223;
    const double v153 = (v149 * v10 + 27.790237351005867) * v10 + 19.354983842902307;
    const double v163 = (v11 * 0.07449541448507938 + 0.32113590747378706) * v11 +
        0.5695009358337707;
    const double v167 = (v163 * v11 + 0.45215565872312896) * v11 + 0.11593151565841245;
    const double v171 = (v11 * 1.787891861130509 + 9.495090659914014) * v11 + 22.135891635232223;
    const double v175 = (v171 * v11 + 27.790237351005867) * v11 + 19.354983842902307;
    const double v182 = v19 - v145 / ((v153 * v10 + 6.962917617035035) * v10 + 1) + v137;
    const double v184 = v10 * v182 + 1;
    const double v185 = v22 - v167 / ((v175 * v11 + 6.962917617035035) * v11 + 1) + v137;
    const double v187 = v11 * v185 + 1;
    slopes[0] = v184 * v9 - v187 * v8;
    slopes[1] = v184 + v187;
    return v29 + (v39 + LOG(v11)) + (v65 - v88 - v112);
}

INLINE double VonMises_double(double y, double cosine_loc, double sine_loc, double concentration,
    double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v1 = turned_double(y, 1);
    const double v2 = turned_double(y, 0);
    const double v3 = v1 - cosine_loc;
    const double v5 = v2 - sine_loc;
    const double v8 = (v3 * v3 + v5 * v5) * 0.5;
    const double v11 = sqrt(concentration * concentration + 5.76);
    const double one_by_v11 = 1 / v11;
    const double v13 = one_by_v11 * 2.4;
    const double v17 = (v13 * (-2.4723322741655185) - 209.72622996673823) * v13 +
        246.29927760477332;
    const double v22 = ((v17 * v13 - 313.8170141361141) * v13 + 357.5282771021123) * v13;
    const double v26 = ((v22 - 255.1774551584425) * v13 + 180.82803701220035) * v13;
    const double v31 = ((v26 - 76.8029197391843) * v13 + 29.144149904717626) * v13 -
        5.849315238759456;
    const double v37 = (v13 * 38.5842611656543 + 153.0007052494803) * v13 - 3.3141246585402713;
    const double v42 = ((v37 * v13 + 210.54822493059729) * v13 - 99.1176490463545) * v13;
    const double v47 = ((v42 + 124.8719886295706) * v13 - 50.55295142816297) * v13 +
        25.04021832652103;
    const double v51 = (v47 * v13 - 5.116118655554474) * v13 + 1;
    const double v55 = (v13 * (-24.723322741655185) - 1887.536069700644) * v13 + 1970.3942208381866;
    const double v60 = ((v55 * v13 - 2196.7190989527985) * v13 + 2145.169662612674) * v13;
    const double v64 = ((v60 - 1275.8872757922127) * v13 + 723.3121480488014) * v13;
    const double v68 = ((v64 - 230.40875921755293) * v13 + 58.28829980943525) * v13;
    const double v73 = (v13 * 347.2583504908887 + 1224.0056419958423) * v13 - 23.198872609781898;
    const double v78 = ((v73 * v13 + 1263.2893495835838) * v13 - 495.5882452317725) * v13;
    const double v83 = ((v78 + 499.4879545182824) * v13 - 151.6588542844889) * v13 +
        50.08043665304206;
    const double one_by_v51 = 1 / v51;
    const double v86 = (v31 * v13 + 0.9189385332037554) * one_by_v51;
    const double v88 = v68 - 5.849315238759456 - v86 * (v83 * v13 - 5.116118655554474);
    const double v92 = 1 / (v11 + concentration) * 5.76;
    const double v100 = concentration * one_by_v11 * (v13 * (v88 * one_by_v51) + 0.5);
    slopes[0] = concentration * (v2 * cosine_loc - v1 * sine_loc);
    slopes[1] = concentration * ((v92 + v100) * one_by_v11 - v8);
    return -concentration * v8 - (v86 + v92 - LOG(v11) * 0.5);
}

INLINE double Bernoulli_double(double y, double logits, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v2 = minimum__double(maximum__double(logits, -1e+300), 1e+300);
    const double v3 = fabs(v2);
    const double v5 = EXP(-v3);
    const int v6 = v2 < 0;
    slopes[0] = y - (v6 ? v5 : 1) / (v5 + 1);
    return y * v2 - (v2 + v3) * 0.5 - LOG1P(v5);
}

INLINE double Poisson_double(double y, double rate, double log_rate, double *slopes, uint64_t
    *beyond) {
    (void)beyond; (void)y;
    const double v1 = y + 0.5;
    const double one_by_v1 = 1 / v1;
    const double v5 = (rate - v1) * one_by_v1;
    const double v7 = v5 / (v5 + 2);
    const double v8 = v7 * v7;
    const double v13 = (v8 * 0.05263157894736842 + 0.058823529411764705) * v8 + 0.06666666666666667;
    const double v18 = ((v13 * v8 + 0.07692307692307693) * v8 + 0.09090909090909091) * v8;
    const double v22 = ((v18 + 0.1111111111111111) * v8 + 0.14285714285714285) * v8;
    const double v28 = v7 * (v8 * 2 * ((v22 + 0.2) * v8 + 0.3333333333333333) - v5);
    const int v30 = fabs(v5) < 0.25;
    const double v32 = LOG(rate * one_by_v1) - v5;
    const double v40 = (y * (-0.027601227229881346) - 0.15759380974629195) * y - 0.3853224978373486;
    const double v45 = ((v40 * y - 0.4837483801380896) * y - 0.3031839559915322) * y;
    const double v50 = (y * 0.6624294528587534 + 4.1134662162301625) * y + 11.17750588192358;
    const double v55 = ((v50 * y + 16.43516145072218) * y + 13.510064718345744) * y;
    const double v59 = (v45 - 0.07236494292470008) / ((v55 + 5.791692146986994) * y + 1);
    const double v61 = v1 * (v30 ? v28 : v32) - log_rate * 0.5 - v59 - 0.9189385332046727;
    slopes[0] = y - rate;
    return v61;
}

INLINE double Poisson_with_constants_double(double y, double rate, double exposure, double *slopes,
    uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v1 = rate * exposure;
    const double v2 = y + 0.5;
    const double v3 = y - v1;
    const double one_by_v2 = 1 / v2;
    const double v6 = (v1 - v2) * one_by_v2;
    const double v8 = v6 / (v6 + 2);
    const double v9 = v8 * v8;
    const double v14 = (v9 * 0.05263157894736842 + 0.058823529411764705) * v9 + 0.06666666666666667;
    const double v19 = ((v14 * v9 + 0.07692307692307693) * v9 + 0.09090909090909091) * v9;
    const double v23 = ((v19 + 0.1111111111111111) * v9 + 0.14285714285714285) * v9;
    const double v29 = v8 * (v9 * 2 * ((v23 + 0.2) * v9 + 0.3333333333333333) - v6);
    const int v31 = fabs(v6) < 0.25;
    const double v33 = LOG(v1 * one_by_v2) - v6;
    const double v42 = (y * (-0.027601227229881346) - 0.15759380974629195) * y - 0.3853224978373486;
    const double v47 = ((v42 * y - 0.4837483801380896) * y - 0.3031839559915322) * y;
    const double v52 = (y * 0.6624294528587534 + 4.1134662162301625) * y + 11.17750588192358;
    const double v57 = ((v52 * y + 16.43516145072218) * y + 13.510064718345744) * y;
    const double v61 = (v47 - 0.07236494292470008) / ((v57 + 5.791692146986994) * y + 1);
    const double v63 = v2 * (v31 ? v29 : v33) - LOG(v1) * 0.5 - v61 - 0.9189385332046727;
    slopes[0] = v3;
    slopes[1] = v3 / exposure;
    return v63;
}

INLINE double AsymmetricLaplace_double(double y, double loc, double scale, double log_scale, double
    asymmetry, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double one_by_scale = 1 / scale;
    const double v2 = (y - loc) * one_by_scale;
    const double v3 = fabs(asymmetry);
    const double v5 = EXP(-v3);
    const double v7 = 1 / (v5 + 1);
    const double v8 = v5 * v7;
    const int v9 = asymmetry < 0;
    const double v10 = (v9 ? v8 : v7);
    const double v11 = (v9 ? v7 : v8);
    const int v12 = v2 < 0;
    const double v13 = -v11;
    const int v14 = 0 < v2;
    const double v16 = (v10 - v11) * 0.5;
    const double v17 = (v14 ? v10 : v16);
    const double v18 = (v12 ? v13 : v17);
    const double v19 = v2 * v18;
    slopes[0] = v18 * one_by_scale;
    slopes[1] = v19 - 1;
    slopes[2] = v11 - v10 - v2 * v10 * v11;
    return -v19 - log_scale - v3 - LOG1P(v5) * 2;
}

INLINE double Cauchy_double(double y, double loc, double scale, double log_scale, double *slopes,
    uint64_t *beyond) {
    (void)beyond; (void)y;
    const double one_by_scale = 1 / scale;
    const double v2 = (y - loc) * one_by_scale;
    const double v3 = v2 * v2;
    const double v6 = 1 / (v3 + 1) * 2;
    slopes[0] = v6 * v2 * one_by_scale;
    slopes[1] = v3 * v6 - 1;
    return (-1.1447298858494002) - log_scale - LOG1P(v3);
}

INLINE double GeneralizedGamma_double(double y, double scale, double concentration, double
    log_concentration, double power, double log_power, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v3 = power * LOG(y / scale);
    const double v4 = EXP(v3);
    const double v5 = concentration + 0.5;
    const double v6 = LOG(v5);
    const double v8 = v3 - v6;
    const double v12 = log_power + log_concentration + concentration * v8 + (v5 - v4);
    const double v14 = concentration * (-0.027601227229881346) - 0.15759380974629195;
    const double v18 = (v14 * concentration - 0.3853224978373486) * concentration -
        0.4837483801380896;
    const double v22 = (v18 * concentration - 0.3031839559915322) * concentration -
        0.07236494292470008;
    const double v25 = (concentration * 0.6624294528587534 + 4.1134662162301625) * concentration;
    const double v28 = (v25 + 11.17750588192358) * concentration + 16.43516145072218;
    const double v32 = (v28 * concentration + 13.510064718345744) * concentration +
        5.791692146986994;
    const double v41 = v12 - v22 / (v32 * concentration + 1) - (LOG(y) + v6 * 0.5 +
        0.9189385332046727);
    const double v44 = (concentration * 0.07449541448507938 + 0.32113590747378706) * concentration;
    const double v47 = (v44 + 0.5695009358337707) * concentration + 0.45215565872312896;
    const double v52 = (concentration * 1.787891861130509 + 9.495090659914014) * concentration;
    const double v55 = (v52 + 22.135891635232223) * concentration + 27.790237351005867;
    const double v59 = (v55 * concentration + 19.354983842902307) * concentration +
        6.962917617035035;
    const double v62 = (v47 * concentration + 0.11593151565841245) / (v59 * concentration + 1);
    slopes[0] = power * (v4 - concentration);
    slopes[1] = concentration * (v8 - v62) + 1;
    slopes[2] = v3 * (concentration - v4) + 1;
    return v41;
}

INLINE double GeneralizedNormal_double(double y, double loc, double scale, double log_scale, double
    power, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v2 = (y - loc) / scale;
    const double v3 = 1 / power;
    const double v4 = fabs(v2);
    const int v5 = v4 == 0;
    const double v6 = (v5 ? 1 : v4);
    const double v8 = power * LOG(v6);
    const double v9 = EXP(v8);
    const double v10 = (v5 ? 0 : v9);
    const double v11 = v3 + 0.5;
    const double v12 = LOG(v11);
    const double v19 = (v3 * (-0.027601227229881346) - 0.15759380974629195) * v3 -
        0.3853224978373486;
    const double v24 = ((v19 * v3 - 0.4837483801380896) * v3 - 0.3031839559915322) * v3;
    const double v29 = (v3 * 0.6624294528587534 + 4.1134662162301625) * v3 + 11.17750588192358;
    const double v34 = ((v29 * v3 + 16.43516145072218) * v3 + 13.510064718345744) * v3;
    const double v38 = (v24 - 0.07236494292470008) / ((v34 + 5.791692146986994) * v3 + 1);
    const double v42 = -v10 - log_scale - 1.612085713764618 - (v38 + v11 * (v12 - 1));
    const double v43 = power * v10;
    const double v47 = (v3 * 0.07449541448507938 + 0.32113590747378706) * v3 + 0.5695009358337707;
    const double v55 = (v3 * 1.787891861130509 + 9.495090659914014) * v3 + 22.135891635232223;
    const double v60 = ((v55 * v3 + 27.790237351005867) * v3 + 19.354983842902307) * v3;
    const double v64 = ((v47 * v3 + 0.45215565872312896) * v3 + 0.11593151565841245) / ((v60 +
        6.962917617035035) * v3 + 1);
    slopes[0] = v43 * sign__double(v2) / (v6 * scale);
    slopes[1] = v43 - 1;
    slopes[2] = v3 * (v64 + v12) - v10 * v8;
    return v42;
}

INLINE double Geometric_double(double y, double logits, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v2 = minimum__double(maximum__double(logits, -1e+300), 1e+300);
    const double v3 = fabs(v2);
    const double v5 = EXP(-v3);
    const double v7 = 1 / (v5 + 1);
    const int v8 = v2 < 0;
    const double v9 = v5 * v7;
    const double v14 = LOG1P(v5);
    slopes[0] = (v8 ? v7 : v9) - y * (v8 ? v9 : v7);
    return y * ((v2 + v3) * (-0.5) - v14) + ((v2 - v3) * 0.5 - v14);
}

INLINE double Gumbel_double(double y, double loc, double scale, double log_scale, double *slopes,
    uint64_t *beyond) {
    (void)beyond; (void)y;
    const double one_by_scale = 1 / scale;
    const double v2 = (y - loc) * one_by_scale;
    const double v3 = -v2;
    const double v4 = EXP(v3);
    const double v5 = 1 - v4;
    slopes[0] = v5 * one_by_scale;
    slopes[1] = v2 * v5 - 1;
    return v3 - v4 - log_scale;
}

INLINE double HalfNormal_double(double y, double scale, double log_scale, double *slopes, uint64_t
    *beyond) {
    (void)beyond; (void)y;
    const double v1 = y / scale;
    const double v2 = v1 * v1;
    slopes[0] = v2 - 1;
    return (-0.2257913526447274) - log_scale - v2 * 0.5;
}

INLINE double HyperbolicSecant_double(double y, double loc, double scale, double log_scale, double
    *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double one_by_scale = 1 / scale;
    const double v2 = (y - loc) * one_by_scale;
    const double v3 = fabs(v2);
    const double v5 = EXP(v3 * (-2));
    const double v10 = sign__double(v2) * (1 - v5) / (v5 + 1);
    slopes[0] = v10 * one_by_scale;
    slopes[1] = v2 * v10 - 1;
    return (-0.4515827052894548) - v3 - LOG1P(v5) - log_scale;
}

INLINE double InverseGamma_double(double y, double concentration, double log_concentration, double
    rate, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v1 = 1 / y;
    const double v2 = rate * v1;
    const double v3 = concentration + 0.5;
    const double v5 = LOG(v2 / v3);
    const double v11 = concentration * (-0.027601227229881346) - 0.15759380974629195;
    const double v15 = (v11 * concentration - 0.3853224978373486) * concentration -
        0.4837483801380896;
    const double v19 = (v15 * concentration - 0.3031839559915322) * concentration -
        0.07236494292470008;
    const double v22 = (concentration * 0.6624294528587534 + 4.1134662162301625) * concentration;
    const double v25 = (v22 + 11.17750588192358) * concentration + 16.43516145072218;
    const double v29 = (v25 * concentration + 13.510064718345744) * concentration +
        5.791692146986994;
    const double v33 = log_concentration + concentration * v5 + (v3 - v2) - v19 / (v29 *
        concentration + 1);
    const double v42 = (concentration * 0.07449541448507938 + 0.32113590747378706) * concentration;
    const double v45 = (v42 + 0.5695009358337707) * concentration + 0.45215565872312896;
    const double v50 = (concentration * 1.787891861130509 + 9.495090659914014) * concentration;
    const double v53 = (v50 + 22.135891635232223) * concentration + 27.790237351005867;
    const double v57 = (v53 * concentration + 19.354983842902307) * concentration +
        6.962917617035035;
    const double v60 = (v45 * concentration + 0.11593151565841245) / (v57 * concentration + 1);
    const double v67 = v33 - (LOG(v1) + LOG(v3) * 0.5 + 0.9189385332046727) - LOG(y) * 2;
    slopes[0] = concentration * (v5 - v60) + 1;
    slopes[1] = concentration - v2;
    return v67;
}

INLINE double InverseGaussian_double(double y, double loc, double concentration, double
    log_concentration, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v1 = y - loc;
    const double one_by_loc = 1 / loc;
    const double v4 = concentration * (v1 * one_by_loc) * one_by_loc;
    const double v6 = v4 * v1 / y;
    const double v12 = (log_concentration - v6) * 0.5 - 0.9189385332046727 - LOG(y) * 1.5;
    slopes[0] = v4;
    slopes[1] = 0.5 - v6 * 0.5;
    return v12;
}

INLINE double JohnsonSU_double(double y, double loc, double scale, double log_scale, double
    skewness, double tailweight, double log_tailweight, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double one_by_scale = 1 / scale;
    const double v2 = (y - loc) * one_by_scale;
    const double v3 = v2 * v2;
    const double v5 = v3 + 1;
    const double v6 = sqrt(v5);
    const double v12 = sign__double(v2) * LOG1P(fabs(v2) + v3 / (v6 + 1));
    const double v14 = skewness + tailweight * v12;
    const double v20 = log_tailweight - 0.9189385332046727 - v14 * 0.5 * v14 - LOG(v6);
    const double v25 = v2 / v5 + tailweight * v14 / v6;
    slopes[0] = v25 * one_by_scale;
    slopes[1] = v2 * v25 - 1;
    slopes[2] = -v14;
    slopes[3] = 1 - v14 * tailweight * v12;
    return v20 - log_scale;
}

INLINE double LogLogistic_double(double y, double scale, double concentration, double
    log_concentration, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v3 = concentration * LOG(y / scale);
    const double v4 = fabs(v3);
    const double v6 = EXP(-v4);
    const double v11 = sign__double(v3) * (1 - v6) / (v6 + 1);
    slopes[0] = concentration * v11;
    slopes[1] = 1 - v3 * v11;
    return log_concentration - LOG(y) - v4 - LOG1P(v6) * 2;
}

INLINE double LogNormal_double(double y, double loc, double scale, double log_scale, double *slopes,
    uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v1 = LOG(y);
    const double one_by_scale = 1 / scale;
    const double v3 = (v1 - loc) * one_by_scale;
    const double v4 = v3 * v3;
    slopes[0] = v3 * one_by_scale;
    slopes[1] = v4 - 1;
    return (-0.9189385332046727) - v1 - log_scale - v4 * 0.5;
}

INLINE double MeanLogNormal_double(double y, double log_mean, double scale, double log_scale, double
    *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v1 = scale * scale;
    const double v4 = LOG(y);
    const double one_by_scale = 1 / scale;
    const double v6 = (v4 - (log_mean - v1 * 0.5)) * one_by_scale;
    const double v7 = v6 * v6;
    const double v12 = v6 * one_by_scale;
    slopes[0] = v12;
    slopes[1] = v7 - 1 - v1 * v12;
    return (-0.9189385332046727) - v4 - log_scale - v7 * 0.5;
}

INLINE double Logistic_double(double y, double loc, double scale, double log_scale, double *slopes,
    uint64_t *beyond) {
    (void)beyond; (void)y;
    const double one_by_scale = 1 / scale;
    const double v2 = (y - loc) * one_by_scale;
    const double v4 = -fabs(v2);
    const double v5 = EXP(v4);
    const double v10 = sign__double(v2) * (1 - v5) / (v5 + 1);
    slopes[0] = v10 * one_by_scale;
    slopes[1] = v2 * v10 - 1;
    return v4 - LOG1P(v5) * 2 - log_scale;
}

INLINE double LogitNormal_double(double y, double loc, double scale, double log_scale, double
    *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v1 = LOG(y);
    const double v3 = LOG1P(-y);
    const double one_by_scale = 1 / scale;
    const double v6 = (v1 - v3 - loc) * one_by_scale;
    const double v7 = v6 * v6;
    slopes[0] = v6 * one_by_scale;
    slopes[1] = v7 - 1;
    return (-0.9189385332046727) - (v1 + v3) - log_scale - v7 * 0.5;
}

INLINE double NegativeBinomial_double(double y, double total_count, double log_total_count, double
    logits, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v3 = EXP(-fabs(logits));
    const double v5 = 1 / (v3 + 1);
    const double v6 = v3 * v5;
    const int v7 = logits < 0;
    const double v8 = (v7 ? v6 : v5);
    const double v9 = (v7 ? v5 : v6);
    const double v10 = y + total_count;
    const double v11 = y + 0.5;
    const double v12 = total_count + 0.5;
    const double v13 = v10 + 0.5;
    const double v14 = v13 * v9;
    const double v15 = total_count - v14;
    const double v16 = v13 * v8;
    const double one_by_v11 = 1 / v11;
    const double v18 = v15 * one_by_v11;
    const double v20 = v18 / (v18 + 2);
    const double v21 = v20 * v20;
    const double v26 = (v21 * 0.05263157894736842 + 0.058823529411764705) * v21 +
        0.06666666666666667;
    const double v30 = (v26 * v21 + 0.07692307692307693) * v21 + 0.09090909090909091;
    const double v34 = (v30 * v21 + 0.1111111111111111) * v21 + 0.14285714285714285;
    const double v40 = v21 * 2 * ((v34 * v21 + 0.2) * v21 + 0.3333333333333333) - v18;
    const double v41 = v20 * v40;
    const int v43 = fabs(v18) < 0.25;
    const double v45 = LOG(v16 * one_by_v11) - v18;
    const double one_by_v12 = 1 / v12;
    const double v49 = -(v15 + 0.5) * one_by_v12;
    const double v52 = v49 / (v49 + 2);
    const double v53 = v52 * v52;
    const double v58 = (v53 * 0.05263157894736842 + 0.058823529411764705) * v53 +
        0.06666666666666667;
    const double v62 = (v58 * v53 + 0.07692307692307693) * v53 + 0.09090909090909091;
    const double v66 = (v62 * v53 + 0.1111111111111111) * v53 + 0.14285714285714285;
    const double v72 = v53 * 2 * ((v66 * v53 + 0.2) * v53 + 0.3333333333333333) - v49;
    const double v73 = v52 * v72;
    const int v75 = fabs(v49) < 0.25;
    const double v77 = LOG(v14 * one_by_v12) - v49;
    const double v78 = (v75 ? v73 : v77);
    const double v86 = v11 * (v43 ? v41 : v45) + v12 * v78 - LOG(v10 * sqrt(v16 * v9));
    const double v91 = (v10 * (-0.027601227229881346) - 0.15759380974629195) * v10 -
        0.3853224978373486;
    const double v96 = ((v91 * v10 - 0.4837483801380896) * v10 - 0.3031839559915322) * v10;
    const double v101 = (v10 * 0.6624294528587534 + 4.1134662162301625) * v10 + 11.17750588192358;
    const double v106 = ((v101 * v10 + 16.43516145072218) * v10 + 13.510064718345744) * v10;
    const double v110 = (v96 - 0.07236494292470008) / ((v106 + 5.791692146986994) * v10 + 1);
    const double v113 = (total_count * (-0.027601227229881346) - 0.15759380974629195) * total_count;
    const double v116 = (v113 - 0.3853224978373486) * total_count - 0.4837483801380896;
    const double v120 = (v116 * total_count - 0.3031839559915322) * total_count -
        0.07236494292470008;
    const double v123 = (total_count * 0.6624294528587534 + 4.1134662162301625) * total_count;
    const double v126 = (v123 + 11.17750588192358) * total_count + 16.43516145072218;
    const double v130 = (v126 * total_count + 13.510064718345744) * total_count + 5.791692146986994;
    const double v138 = (y * (-0.027601227229881346) - 0.15759380974629195) * y -
        0.3853224978373486;
    const double v143 = ((v138 * y - 0.4837483801380896) * y - 0.3031839559915322) * y;
    const double v148 = (y * 0.6624294528587534 + 4.1134662162301625) * y + 11.17750588192358;
    const double v153 = ((v148 * y + 16.43516145072218) * y + 13.510064718345744) * y;
    const double v157 = (v143 - 0.07236494292470008) / ((v153 + 5.791692146986994) * y + 1);
    const double v159 = v110 - v120 / (v130 * total_count + 1) - v157 - 0.9189385332046727;
    const double v164 = (v10 * 0.07449541448507938 + 0.32113590747378706) * v10 +
        0.5695009358337707;
    const double v168 = (v164 * v10 + 0.45215565872312896) * v10 + 0.11593151565841245;
    const double v172 = (v10 * 1.787891861130509 + 9.495090659914014) * v10 + 22.135891635232223;
    const double v176 = (v172 * v10 + 27.790237351005867) * v10 + 19.354983842902307;
    const double v183 = v168 / ((v176 * v10 + 6.962917617035035) * v10 + 1) - 1 / v10;
    const double v186 = (total_count * 0.07449541448507938 + 0.32113590747378706) * total_count;
    const double v189 = (v186 + 0.5695009358337707) * total_count + 0.45215565872312896;
    const double v194 = (total_count * 1.787891861130509 + 9.495090659914014) * total_count;
    const double v197 = (v194 + 22.135891635232223) * total_count + 27.790237351005867;
    const double v201 = (v197 * total_count + 19.354983842902307) * total_count + 6.962917617035035;
    const double v204 = (v189 * total_count + 0.11593151565841245) / (v201 * total_count + 1);
    slopes[0] = total_count * (v78 + v49 + (v183 - v204)) + 1;
    slopes[1] = y * v9 - total_count * v8;
    return v86 + log_total_count + v159;
}

INLINE double MeanNegativeBinomial_double(double y, double log_mean, double total_count, double
    log_total_count, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v1 = log_mean - log_total_count;
    const double v4 = EXP(-fabs(v1));
    const double v6 = 1 / (v4 + 1);
    const double v7 = v4 * v6;
    const int v8 = v1 < 0;
    const double v9 = (v8 ? v7 : v6);
    const double v10 = (v8 ? v6 : v7);
    const double v11 = y + total_count;
    const double v12 = y + 0.5;
    const double v13 = total_count + 0.5;
    const double v14 = v11 + 0.5;
    const double v15 = v14 * v10;
    const double v16 = total_count - v15;
    const double v17 = v14 * v9;
    const double one_by_v12 = 1 / v12;
    const double v19 = v16 * one_by_v12;
    const double v21 = v19 / (v19 + 2);
    const double v22 = v21 * v21;
    const double v27 = (v22 * 0.05263157894736842 + 0.058823529411764705) * v22 +
        0.06666666666666667;
    const double v31 = (v27 * v22 + 0.07692307692307693) * v22 + 0.09090909090909091;
    const double v35 = (v31 * v22 + 0.1111111111111111) * v22 + 0.14285714285714285;
    const double v41 = v22 * 2 * ((v35 * v22 + 0.2) * v22 + 0.3333333333333333) - v19;
    const double v42 = v21 * v41;
    const int v44 = fabs(v19) < 0.25;
    const double v46 = LOG(v17 * one_by_v12) - v19;
    const double one_by_v13 = 1 / v13;
    const double v50 = -(v16 + 0.5) * one_by_v13;
    const double v53 = v50 / (v50 + 2);
    const double v54 = v53 * v53;
    const double v59 = (v54 * 0.05263157894736842 + 0.058823529411764705) * v54 +
        0.06666666666666667;
    const double v63 = (v59 * v54 + 0.07692307692307693) * v54 + 0.09090909090909091;
    const double v67 = (v63 * v54 + 0.1111111111111111) * v54 + 0.14285714285714285;
    const double v73 = v54 * 2 * ((v67 * v54 + 0.2) * v54 + 0.3333333333333333) - v50;
    const double v74 = v53 * v73;
    const int v76 = fabs(v50) < 0.25;
    const double v78 = LOG(v15 * one_by_v13) - v50;
    const double v79 = (v76 ? v74 : v78);
    const double v87 = v12 * (v44 ? v42 : v46) + v13 * v79 - LOG(v11 * sqrt(v17 * v10));
    const double v92 = (v11 * (-0.027601227229881346) - 0.15759380974629195) * v11 -
        0.3853224978373486;
    const double v97 = ((v92 * v11 - 0.4837483801380896) * v11 - 0.3031839559915322) * v11;
    const double v102 = (v11 * 0.6624294528587534 + 4.1134662162301625) * v11 + 11.17750588192358;
    const double v107 = ((v102 * v11 + 16.43516145072218) * v11 + 13.510064718345744) * v11;
    const double v111 = (v97 - 0.07236494292470008) / ((v107 + 5.791692146986994) * v11 + 1);
    const double v114 = (total_count * (-0.027601227229881346) - 0.15759380974629195) * total_count;
    const double v117 = (v114 - 0.3853224978373486) * total_count - 0.4837483801380896;
    const double v121 = (v117 * total_count - 0.3031839559915322) * total_count -
        0.07236494292470008;
    const double v124 = (total_count * 0.6624294528587534 + 4.1134662162301625) * total_count;
    const double v127 = (v124 + 11.17750588192358) * total_count + 16.43516145072218;
    const double v131 = (v127 * total_count + 13.510064718345744) * total_count + 5.791692146986994;
    const double v139 = (y * (-0.027601227229881346) - 0.15759380974629195) * y -
        0.3853224978373486;
    const double v144 = ((v139 * y - 0.4837483801380896) * y - 0.3031839559915322) * y;
    const double v149 = (y * 0.6624294528587534 + 4.1134662162301625) * y + 11.17750588192358;
    const double v154 = ((v149 * y + 16.43516145072218) * y + 13.510064718345744) * y;
    const double v158 = (v144 - 0.07236494292470008) / ((v154 + 5.791692146986994) * y + 1);
    const double v160 = v111 - v121 / (v131 * total_count + 1) - v158 - 0.9189385332046727;
    const double v165 = (v11 * 0.07449541448507938 + 0.32113590747378706) * v11 +
        0.5695009358337707;
    const double v169 = (v165 * v11 + 0.45215565872312896) * v11 + 0.11593151565841245;
    const double v173 = (v11 * 1.787891861130509 + 9.495090659914014) * v11 + 22.135891635232223;
    const double v177 = (v173 * v11 + 27.790237351005867) * v11 + 19.354983842902307;
    const double v184 = v169 / ((v177 * v11 + 6.962917617035035) * v11 + 1) - 1 / v11;
    const double v187 = (total_count * 0.07449541448507938 + 0.32113590747378706) * total_count;
    const double v190 = (v187 + 0.5695009358337707) * total_count + 0.45215565872312896;
    const double v195 = (total_count * 1.787891861130509 + 9.495090659914014) * total_count;
    const double v198 = (v195 + 22.135891635232223) * total_count + 27.790237351005867;
    const double v202 = (v198 * total_count + 19.354983842902307) * total_count + 6.962917617035035;
    const double v205 = (v190 * total_count + 0.11593151565841245) / (v202 * total_count + 1);
    const double v213 = y * v10 - total_count * v9;
    slopes[0] = v213;
    slopes[1] = total_count * (v79 + v50 + (v184 - v205)) + 1 - v213;
    return v87 + log_total_count + v160;
}

INLINE double MeanNegativeBinomial_with_constants_double(double y, double mean, double total_count,
    double log_total_count, double exposure, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v3 = LOG(mean * exposure) - log_total_count;
    const double v6 = EXP(-fabs(v3));
    const double v8 = 1 / (v6 + 1);
    const double v9 = v6 * v8;
    const int v10 = v3 < 0;
    const double v11 = (v10 ? v9 : v8);
    const double v12 = (v10 ? v8 : v9);
    const double v13 = y + total_count;
    const double v14 = y + 0.5;
    const double v15 = total_count + 0.5;
    const double v16 = v13 + 0.5;
    const double v17 = v16 * v12;
    const double v18 = total_count - v17;
    const double v19 = v16 * v11;
    const double one_by_v14 = 1 / v14;
    const double v21 = v18 * one_by_v14;
    const double v23 = v21 / (v21 + 2);
    const double v24 = v23 * v23;
    const double v29 = (v24 * 0.05263157894736842 + 0.058823529411764705) * v24 +
        0.06666666666666667;
    const double v33 = (v29 * v24 + 0.07692307692307693) * v24 + 0.09090909090909091;
    const double v37 = (v33 * v24 + 0.1111111111111111) * v24 + 0.14285714285714285;
    const double v43 = v24 * 2 * ((v37 * v24 + 0.2) * v24 + 0.3333333333333333) - v21;
    const double v44 = v23 * v43;
    const int v46 = fabs(v21) < 0.25;
    const double v48 = LOG(v19 * one_by_v14) - v21;
    const double one_by_v15 = 1 / v15;
    const double v52 = -(v18 + 0.5) * one_by_v15;
    const double v55 = v52 / (v52 + 2);
    const double v56 = v55 * v55;
    const double v61 = (v56 * 0.05263157894736842 + 0.058823529411764705) * v56 +
        0.06666666666666667;
    const double v65 = (v61 * v56 + 0.07692307692307693) * v56 + 0.09090909090909091;
    const double v69 = (v65 * v56 + 0.1111111111111111) * v56 + 0.14285714285714285;
    const double v75 = v56 * 2 * ((v69 * v56 + 0.2) * v56 + 0.3333333333333333) - v52;
    const double v76 = v55 * v75;
    const int v78 = fabs(v52) < 0.25;
    const double v80 = LOG(v17 * one_by_v15) - v52;
    const double v81 = (v78 ? v76 : v80);
    const double v89 = v14 * (v46 ? v44 : v48) + v15 * v81 - LOG(v13 * sqrt(v19 * v12));
    const double v94 = (v13 * (-0.027601227229881346) - 0.15759380974629195) * v13 -
        0.3853224978373486;
    const double v99 = ((v94 * v13 - 0.4837483801380896) * v13 - 0.3031839559915322) * v13;
    const double v104 = (v13 * 0.6624294528587534 + 4.1134662162301625) * v13 + 11.17750588192358;
    const double v109 = ((v104 * v13 + 16.43516145072218) * v13 + 13.510064718345744) * v13;
    const double v113 = (v99 - 0.07236494292470008) / ((v109 + 5.791692146986994) * v13 + 1);
    const double v116 = (total_count * (-0.027601227229881346) - 0.15759380974629195) * total_count;
    const double v119 = (v116 - 0.3853224978373486) * total_count - 0.4837483801380896;
    const double v123 = (v119 * total_count - 0.3031839559915322) * total_count -
        0.07236494292470008;
    const double v126 = (total_count * 0.6624294528587534 + 4.1134662162301625) * total_count;
    const double v129 = (v126 + 11.17750588192358) * total_count + 16.43516145072218;
    const double v133 = (v129 * total_count + 13.510064718345744) * total_count + 5.791692146986994;
    const double v141 = (y * (-0.027601227229881346) - 0.15759380974629195) * y -
        0.3853224978373486;
    const double v146 = ((v141 * y - 0.4837483801380896) * y - 0.3031839559915322) * y;
    const double v151 = (y * 0.6624294528587534 + 4.1134662162301625) * y + 11.17750588192358;
    const double v156 = ((v151 * y + 16.43516145072218) * y + 13.510064718345744) * y;
    const double v160 = (v146 - 0.07236494292470008) / ((v156 + 5.791692146986994) * y + 1);
    const double v162 = v113 - v123 / (v133 * total_count + 1) - v160 - 0.9189385332046727;
    const double v167 = (v13 * 0.07449541448507938 + 0.32113590747378706) * v13 +
        0.5695009358337707;
    const double v171 = (v167 * v13 + 0.45215565872312896) * v13 + 0.11593151565841245;
    const double v175 = (v13 * 1.787891861130509 + 9.495090659914014) * v13 + 22.135891635232223;
    const double v179 = (v175 * v13 + 27.790237351005867) * v13 + 19.354983842902307;
    const double v186 = v171 / ((v179 * v13 + 6.962917617035035) * v13 + 1) - 1 / v13;
    const double v189 = (total_count * 0.07449541448507938 + 0.32113590747378706) * total_count;
    const double v192 = (v189 + 0.5695009358337707) * total_count + 0.45215565872312896;
    const double v197 = (total_count * 1.787891861130509 + 9.495090659914014) * total_count;
    const double v200 = (v197 + 22.135891635232223) * total_count + 27.790237351005867;
    const double v204 = (v200 * total_count + 19.354983842902307) * total_count + 6.962917617035035;
    const double v207 = (v192 * total_count + 0.11593151565841245) / (v204 * total_count + 1);
    const double v215 = y * v12 - total_count * v11;
    slopes[0] = v215;
    slopes[1] = total_count * (v81 + v52 + (v186 - v207)) + 1 - v215;
    slopes[2] = v215 / exposure;
    return v89 + log_total_count + v162;
}

INLINE double Pareto_double(double y, double scale, double alpha, double log_alpha, double *slopes,
    uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v1 = LOG(y);
    const double v4 = alpha * LOG(y / scale);
    slopes[0] = alpha + v1 * 0;
    slopes[1] = 1 - v4;
    return log_alpha - v4 - v1;
}

INLINE double Weibull_double(double y, double scale, double concentration, double log_concentration,
    double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v3 = concentration * LOG(y / scale);
    const double v4 = EXP(v3);
    slopes[0] = concentration * (v4 - 1);
    slopes[1] = v3 * (1 - v4) + 1;
    return log_concentration + v3 - LOG(y) - v4;
}

INLINE double WrappedCauchy_double(double y, double cosine_loc, double sine_loc, double
    concentration, double *slopes, uint64_t *beyond) {
    (void)beyond; (void)y;
    const double v1 = turned_double(y, 1);
    const double v2 = turned_double(y, 0);
    const double v5 = EXP(-fabs(concentration));
    const double v7 = 1 / (v5 + 1);
    const double v8 = v5 * v7;
    const int v9 = concentration < 0;
    const double v10 = (v9 ? v8 : v7);
    const double v11 = (v9 ? v7 : v8);
    const double v12 = v1 - cosine_loc;
    const double v14 = v2 - sine_loc;
    const double v16 = v12 * v12 + v14 * v14;
    const double v19 = v11 * v11 + v10 * v16;
    const double v20 = v10 + 1;
    const double one_by_v19 = 1 / v19;
    slopes[0] = v10 * 2 * (v2 * cosine_loc - v1 * sine_loc) * one_by_v19;
    slopes[1] = v10 * v11 * ((v11 * 2 - v16) * one_by_v19 + 1 / v20) - v10;
    return LOG(v11 * v20 * one_by_v19) - 1.8378770664093453;
}

#undef FORMULAS
#define FORMULAS(X) \
    X(Normal, REALS, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, SOFTPLUS) \
    X(Laplace, REALS, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, SOFTPLUS) \
    X(StudentT, REALS, 3, 3, 4, (one[0].value, one[1].value, one[2].value, one[2].log), SOFTPLUS, \
        IDENTITY, SOFTPLUS) \
    X(Exponential, POSITIVES, 1, 1, 1, (one[0].value, one[0].log), SOFTPLUS) \
    X(Gamma, POSITIVES, 2, 2, 1, (one[0].value, one[0].log, one[1].value), SOFTPLUS, SOFTPLUS) \
    X(MeanGamma, POSITIVES, 2, 2, 2, (one[0].value, one[1].value, one[1].log), SOFTPLUS, SOFTPLUS) \
    X(Beta, POSITIVES, 2, 2, 3, (one[0].value, one[0].log, one[1].value, one[1].log), SOFTPLUS, \
        SOFTPLUS) \
    X(MeanBeta, POSITIVES, 2, 2, 0, (one[0].value, one[1].value), IDENTITY, SOFTPLUS) \
    X(VonMises, REALS, 2, 3, 0, (one[0].value, one[0].log, one[1].value), DIRECTION, SOFTPLUS) \
    X(Bernoulli, POSITIVES, 1, 1, 0, (one[0].value), IDENTITY) \
    X(Poisson, COUNTS, 1, 1, 1, (one[0].value, one[0].log), SOFTPLUS) \
    X(Poisson_with_constants, COUNTS, 2, 2, 0, (one[0].value, one[1].value), SOFTPLUS, IDENTITY) \
    X(AsymmetricLaplace, REALS, 3, 3, 2, (one[0].value, one[1].value, one[1].log, one[2].value), \
        IDENTITY, SOFTPLUS, IDENTITY) \
    X(Cauchy, REALS, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, SOFTPLUS) \
    X(GeneralizedGamma, POSITIVES, 3, 3, 6, (one[0].value, one[1].value, one[1].log, one[2].value, \
        one[2].log), SOFTPLUS, SOFTPLUS, SOFTPLUS) \
    X(GeneralizedNormal, REALS, 3, 3, 2, (one[0].value, one[1].value, one[1].log, one[2].value), \
        IDENTITY, SOFTPLUS, SOFTPLUS) \
    X(Geometric, COUNTS, 1, 1, 0, (one[0].value), IDENTITY) \
    X(Gumbel, REALS, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, SOFTPLUS) \
    X(HalfNormal, POSITIVES, 1, 1, 1, (one[0].value, one[0].log), SOFTPLUS) \
    X(HyperbolicSecant, REALS, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, \
        SOFTPLUS) \
    X(InverseGamma, POSITIVES, 2, 2, 1, (one[0].value, one[0].log, one[1].value), SOFTPLUS, \
        SOFTPLUS) \
    X(InverseGaussian, POSITIVES, 2, 2, 2, (one[0].value, one[1].value, one[1].log), SOFTPLUS, \
        SOFTPLUS) \
    X(JohnsonSU, REALS, 4, 4, 10, (one[0].value, one[1].value, one[1].log, one[2].value, \
        one[3].value, one[3].log), IDENTITY, SOFTPLUS, IDENTITY, SOFTPLUS) \
    X(LogLogistic, POSITIVES, 2, 2, 2, (one[0].value, one[1].value, one[1].log), SOFTPLUS, \
        SOFTPLUS) \
    X(LogNormal, POSITIVES, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, SOFTPLUS) \
    X(MeanLogNormal, POSITIVES, 2, 2, 3, (one[0].log, one[1].value, one[1].log), SOFTPLUS, \
        SOFTPLUS) \
    X(Logistic, REALS, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, SOFTPLUS) \
    X(LogitNormal, POSITIVES, 2, 2, 2, (one[0].value, one[1].value, one[1].log), IDENTITY, \
        SOFTPLUS) \
    X(NegativeBinomial, COUNTS, 2, 2, 1, (one[0].value, one[0].log, one[1].value), SOFTPLUS, \
        IDENTITY) \
    X(MeanNegativeBinomial, COUNTS, 2, 2, 3, (one[0].log, one[1].value, one[1].log), SOFTPLUS, \
        SOFTPLUS) \
    X(MeanNegativeBinomial_with_constants, COUNTS, 3, 3, 2, (one[0].value, one[1].value, \
        one[1].log, one[2].value), SOFTPLUS, SOFTPLUS, IDENTITY) \
    X(Pareto, POSITIVES, 2, 2, 2, (one[0].value, one[1].value, one[1].log), SOFTPLUS, SOFTPLUS) \
    X(Weibull, POSITIVES, 2, 2, 2, (one[0].value, one[1].value, one[1].log), SOFTPLUS, SOFTPLUS) \
    X(WrappedCauchy, REALS, 2, 3, 0, (one[0].value, one[0].log, one[1].value), DIRECTION, \
        IDENTITY)

#endif
